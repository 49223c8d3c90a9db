"""The Qwen2 checkpoint layout, which families adapted from Qwen2 keep: fields and tensor names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.models.arch import ArchSpec, AttentionPattern
from dlmkit.models.names import Drop, NameMap, Rename

if TYPE_CHECKING:
    from dlmkit.models.config import Config

__all__ = ["qwen2_arch", "qwen2_names"]


def qwen2_arch(config: Config, attention: AttentionPattern) -> ArchSpec:
    """Read the Qwen2 field names: grouped heads, biases on q, k and v, no sliding window.

    Raises:
        ModelError: a field is missing or malformed, or a sliding window is switched on.
    """
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
        attention=attention,
    )


def qwen2_names() -> NameMap:
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
