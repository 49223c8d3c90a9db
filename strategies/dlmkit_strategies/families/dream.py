"""Dream and its line: diffusion models adapted from Qwen2.5-7B.

Dream 7B (Ye et al., arXiv:2508.15487), Dream-Coder, DiffuCoder (Gong et al., arXiv:2506.20639).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.errors import ModelError
from dlmkit.models.arch import ArchSpec
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit.models.names import Drop, NameMap, Rename
from dlmkit_strategies.families.qwen_text import QWEN_ADDED_TOKENS, QWEN_PATTERN

if TYPE_CHECKING:
    from collections.abc import Collection

    from dlmkit.models.config import Config

__all__ = ["Dream"]


@attrs.frozen
class Dream(ModelFamily):
    """The Dream line: Qwen2 layout with biases on q, k and v; row i-1 predicts token i."""

    name = "dream"
    architectures = ("DreamModel",)
    defaults = FamilyDefaults(
        mask_id=151666,
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        logit_shift=1,
        chat_template=Path(__file__).with_name("chatml.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens={**QWEN_ADDED_TOKENS, "<|beginoftext|>": 151665, "<|mask|>": 151666},
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the Qwen2 field names."""
        config.require({"hidden_act": "silu", "use_sliding_window": False}, config.architecture)
        hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
        head_dim = config.integer("head_dim", default=hidden // heads)
        return ArchSpec(
            vocab_rows=config.integer("vocab_size"),
            hidden=hidden,
            layers=config.integer("num_hidden_layers"),
            heads=heads,
            kv_heads=config.integer("num_key_value_heads", default=heads),
            head_dim=head_dim,
            ffn=config.integer("intermediate_size"),
            rotary=config.rotary(head_dim),
            max_positions=config.integer("max_position_embeddings"),
            norm_eps=config.number("rms_norm_eps", default=1e-6),
            qkv_bias=True,
        )

    def names(self, arch: ArchSpec) -> NameMap:
        """Accept the published names, and exports that add `module.` or drop `model.`."""
        return NameMap(
            (
                Drop("{tail}.rotary_emb.inv_freq"),
                Rename("model.{tail}", "model.{tail}"),
                Rename("lm_head.weight", "lm_head.weight"),
                Rename("module.model.{tail}", "model.{tail}"),
                Rename("module.lm_head.weight", "lm_head.weight"),
                *(
                    Rename(f"{stem}.{{tail}}", f"model.{stem}.{{tail}}")
                    for stem in ("embed_tokens", "layers", "norm")
                ),
            )
        )

    def confirm(self, config: Config, tensor_names: Collection[str]) -> None:
        """Refuse Qwen3-style relatives that share the model type but not the layout."""
        if any(name.endswith("self_attn.q_norm.weight") for name in tensor_names):
            raise ModelError(
                f"{config.origin} says DreamModel, but the files hold q/k norm tensors, "
                "which that architecture does not have",
                hint="correct `architectures` in config.json; DreamReasoner is DreamForCausalLM",
            )
        if not any(name.endswith("self_attn.q_proj.bias") for name in tensor_names):
            raise ModelError(
                f"{config.origin} says DreamModel, but the files hold no q/k/v biases, "
                "which that architecture requires",
                hint="correct `architectures` in config.json, or download the checkpoint again",
            )
