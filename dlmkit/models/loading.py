"""Loading a model: from a reference to something that decodes, with a record of what was found."""

from __future__ import annotations

from typing import Any

import attrs

from dlmkit.engine import Engine, LoadedModel, LoadOptions, Provenance, find_engine
from dlmkit.models.description import CheckpointDescription, describe_checkpoint
from dlmkit.models.placement import choose_device, choose_dtype
from dlmkit.models.prompt_tokens import prompt_ids_of
from dlmkit.models.text_module import TextModule
from dlmkit.models.weights import fill
from dlmkit.network import NetworkInfo

__all__ = ["Checkpoint", "load_checkpoint", "load_model", "module_facts"]


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A checkpoint in memory: its description and the filled decoder.

    `dtype_reason` says why the decoder's number format was chosen.
    """

    description: CheckpointDescription
    decoder: TextModule
    dtype_reason: str

    def network_info(self, engine: str) -> NetworkInfo:
        """Facts about the network as an engine of that name runs it."""
        known, weight = self.description, next(self.decoder.parameters())
        return NetworkInfo(
            vocab_size=known.arch.vocab_rows,
            mask_id=known.special_ids.mask_id,
            eos_ids=known.special_ids.eos_ids,
            eot_ids=known.special_ids.eot_ids,
            max_positions=known.arch.max_positions,
            attention=known.arch.attention,
            kv_heads=known.arch.kv_heads,
            head_dim=known.arch.head_dim,
            dtype=weight.dtype,
            device=weight.device,
            logit_shift=known.family.logit_shift(),
            engine=engine,
            **module_facts(self.decoder),
        )

    def provenance(self) -> Provenance:
        """Where this checkpoint came from and how its settings were decided."""
        known = self.description
        return Provenance(
            reference=known.reference,
            path=known.path,
            revision=known.revision,
            family=known.family.name,
            architecture=known.architecture,
            special_ids=known.special_ids,
            dtype_reason=self.dtype_reason,
        )


def module_facts(module: TextModule) -> dict[str, Any]:
    """The facts of `NetworkInfo` that change when a module is derived from another."""
    return {
        "layers": module.arch.layers,
        "parameters": sum(value.numel() for value in module.parameters()),
        "prompt_ids": prompt_ids_of(module),
    }


def load_model(reference: str, *, engine: str | Engine = "torch", **options: Any) -> LoadedModel:
    """Load a model on an engine.

    Args:
        reference: `builtin/verifier`, a checkpoint folder, or a hub id `owner/name`.
        engine: an engine, or the name of a registered one (with its default options).
        options: the fields of `dlmkit.engine.LoadOptions`: `device`, `dtype`, `revision`, ...

    Raises:
        ModelError: the checkpoint cannot be found or read.
        EngineError: the engine is unknown, or cannot run the model here.
    """
    chosen = find_engine(engine) if isinstance(engine, str) else engine
    return chosen.load(reference, LoadOptions(**options))


def load_checkpoint(reference: str, options: LoadOptions) -> Checkpoint:
    """Read a checkpoint into memory with PyTorch.

    Everything that can be checked without reading weights is checked first.

    Raises:
        ModelError: the checkpoint cannot be found, understood or read.
        EngineError: the device is not usable or too small.
    """
    device = choose_device(options.device)
    known = describe_checkpoint(reference, options)
    dtype, reason = choose_dtype(options.dtype, known.config, known.tensors, device)
    decoder = fill(
        known.empty_network(),
        known.family.names(known.arch),
        known.tensors,
        device=device,
        dtype=dtype,
        progress=options.progress,
    )
    return Checkpoint(description=known, decoder=decoder, dtype_reason=reason)
