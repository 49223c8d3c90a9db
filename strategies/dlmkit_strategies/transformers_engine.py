"""An engine for models that run in transformers' own class."""

from __future__ import annotations

from typing import Any

import attrs

from dlmkit.engine import Engine, LoadedModel, LoadOptions, Provenance
from dlmkit.errors import EngineError
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.config import Config, read_config
from dlmkit.models.family import FamilyDefaults
from dlmkit.models.placement import choose_device, choose_dtype
from dlmkit.models.reach import RopeScaling
from dlmkit.models.reference import locate_model
from dlmkit.models.special_ids import SpecialIds, find_special_ids
from dlmkit.models.tensor_files import list_tensors
from dlmkit.models.tokenizer import load_tokenizer
from dlmkit.network import NetworkInfo

__all__ = ["TransformersEngine"]

ARCHITECTURE = "DiffusionGemmaForBlockDiffusion"


@attrs.frozen
class TransformersEngine(Engine):
    """DiffusionGemma in the class that transformers has for it; no code of a checkpoint is run."""

    name = "transformers"

    def abilities(self) -> frozenset[str]:
        """Mixed inputs, as the distributions of the step before."""
        return frozenset({"mixed-inputs"})

    def refuse_rope(self, reference: str, rope: RopeScaling) -> None:
        """Its networks are built by transformers."""
        raise EngineError(
            "the engine 'transformers' cannot change the rotary embedding of a model",
            hint="leave `rope` out, or use the engine torch",
        )

    def load(self, reference: str, options: LoadOptions) -> LoadedModel:
        """Read the checkpoint with transformers."""
        if options.rope is not None:
            self.refuse_rope(reference, options.rope)
        located = locate_model(
            reference, revision=options.revision, local_files_only=options.local_files_only
        )
        config = read_config(located.path)
        if config.architecture != ARCHITECTURE:
            raise EngineError(
                f"the engine 'transformers' runs {ARCHITECTURE} only, and {config.origin} says "
                f"{config.architecture}",
                hint="use the engine torch, which reads every other family",
            )
        device = choose_device(options.device)
        tensors = tuple(list_tensors(located.path).values())
        dtype, reason = choose_dtype(options.dtype, config, tensors, device)
        from transformers import DiffusionGemmaForBlockDiffusion  # slow to import

        from dlmkit_strategies.gemma_network import GemmaNetwork

        loaded: Any = DiffusionGemmaForBlockDiffusion.from_pretrained(
            located.path, dtype=dtype, local_files_only=True
        )
        model = loaded.to(device).eval().requires_grad_(False)
        tokenizer = load_tokenizer(located.path, FamilyDefaults())
        text = config.nested("text_config")
        ids = find_special_ids(text, FamilyDefaults(), text.integer("vocab_size"), tokenizer)
        return LoadedModel(
            network=GemmaNetwork(model, _info(config, ids, model, self.name)),
            tokenizer=tokenizer,
            provenance=Provenance(
                reference=reference,
                path=located.path,
                revision=located.revision,
                family="diffusion-gemma",
                architecture=config.architecture,
                special_ids=ids,
                dtype_reason=reason,
            ),
        )


def _info(config: Config, ids: SpecialIds, model: Any, engine: str) -> NetworkInfo:
    text, weight = config.nested("text_config"), next(model.parameters())
    return NetworkInfo(
        vocab_size=text.integer("vocab_size"),
        mask_id=None,
        noise="uniform",
        eos_ids=ids.eos_ids,
        eot_ids=ids.eot_ids,
        max_positions=text.integer("max_position_embeddings"),
        attention=AttentionPattern(
            kind="prefix-causal", block=config.integer("canvas_length", default=256)
        ),
        layers=0,
        kv_heads=1,
        head_dim=1,
        dtype=weight.dtype,
        device=weight.device,
        parameters=sum(value.numel() for value in model.parameters()),
        engine=engine,
        capabilities=frozenset({"logits", "mixed-inputs"}),
    )
