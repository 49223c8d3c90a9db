"""What a checkpoint is, as facts for people and programs; no weight is read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from dlmkit.errors import ModelError
from dlmkit.models.derive import derived_facts
from dlmkit.models.description import CheckpointDescription, describe_checkpoint
from dlmkit.models.weights import plan_weights

if TYPE_CHECKING:
    from dlmkit.engine import LoadOptions
    from dlmkit.models.arch import AttentionPattern
    from dlmkit.models.derivation import Derivation

__all__ = ["inspect_checkpoint"]


def inspect_checkpoint(
    reference: str, options: LoadOptions, derivation: Derivation | None = None
) -> dict[str, Any]:
    """Describe a checkpoint; its weights are compared with its config by name and shape.

    Sizes are in bytes, lengths in tokens.  `problem` is what does not fit, or None; `derived` is
    what a model derived from it would be, or None.

    Raises:
        ModelError: the checkpoint cannot be found or understood.
    """
    known = describe_checkpoint(reference, options)
    why = "named by the user" if options.family else "`architectures` in config.json"
    shapes = _shapes(known)
    return {
        "reference": reference,
        "path": str(known.path),
        "revision": known.revision,
        "family": {"name": known.family.name, "why": why},
        "architecture": known.architecture,
        "network": _network(known),
        "special_ids": _special_ids(known),
        "logit_shift": known.family.logit_shift(),
        "parameters": sum(_count(shape) for shape in shapes.values()),
        "parameters_used_per_token": _used(known, shapes),
        "weights": _weights(known),
        "kv_bytes_per_token": known.arch.kv_bytes_per_token(_value_bytes(known)),
        "context_limit": known.arch.max_positions,
        "tokenizer": _tokenizer(known),
        "derived": derivation and derived_facts(known.empty_network(), derivation),
        "problem": _problem(known, shapes),
    }


def attention_text(pattern: AttentionPattern) -> str:
    """Say a pattern in words: `block-causal, 32 positions per block`."""
    per_block = f", {pattern.block} positions per block" if pattern.block else ""
    return f"{pattern.kind}{per_block}"


def _network(known: CheckpointDescription) -> dict[str, Any]:
    arch = known.arch
    facts: dict[str, Any] = {
        "attention": attention_text(arch.attention),
        "layers": arch.layers,
        "hidden": arch.hidden,
        "heads": arch.heads,
        "kv_heads": arch.kv_heads,
        "head_dim": arch.head_dim,
        "vocabulary_rows": arch.vocab_rows,
        "head": "tied to the embedding" if arch.tied_head else "its own",
    }
    if arch.moe is None:
        return facts
    return facts | {"experts": arch.moe.experts, "experts_per_token": arch.moe.chosen}


def _special_ids(known: CheckpointDescription) -> dict[str, Any]:
    ids = known.special_ids
    values = {
        "mask_id": ids.mask_id,
        "eos_ids": list(ids.eos_ids),
        "eot_ids": list(ids.eot_ids),
        "pad_id": ids.pad_id,
    }
    return {
        name: {"value": value, "from": ids.provenance.get(name, "not found")}
        for name, value in values.items()
    }


def _shapes(known: CheckpointDescription) -> dict[str, tuple[int, ...]]:
    parameters = known.empty_network().named_parameters()
    return {name: tuple(value.shape) for name, value in parameters}


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _used(known: CheckpointDescription, shapes: dict[str, tuple[int, ...]]) -> int:
    """Parameters that one token meets: all, but only the chosen ones among experts."""
    moe = known.arch.moe
    routed = sum(_count(shape) for name, shape in shapes.items() if ".experts." in name)
    unused = 0 if moe is None else routed - routed * moe.chosen // moe.experts
    return sum(_count(shape) for shape in shapes.values()) - unused


def _weights(known: CheckpointDescription) -> dict[str, Any]:
    formats = Counter(str(stored.dtype)[6:] for stored in known.tensors)
    return {
        "files": len({stored.path for stored in known.tensors}),
        "bytes": sum(stored.nbytes for stored in known.tensors),
        "dtype": formats.most_common(1)[0][0],
    }


def _value_bytes(known: CheckpointDescription) -> int:
    """Bytes of a stored key or value in the format that most weights have."""
    sizes = Counter(stored.dtype.itemsize for stored in known.tensors)
    return sizes.most_common(1)[0][0]


def _tokenizer(known: CheckpointDescription) -> dict[str, Any] | None:
    if known.tokenizer is None:
        return None
    chat = known.tokenizer.chat
    return {
        "tokens": known.tokenizer.vocab_size,
        "chat_template": None if chat is None else chat.origin,
    }


def _problem(known: CheckpointDescription, shapes: dict[str, tuple[int, ...]]) -> str | None:
    try:
        plan_weights(shapes, known.family.names(known.arch), known.tensors)
    except ModelError as error:
        return str(error)
    return None
