"""The checkpoint layout of Llama and Qwen, which most families keep: fields and tensor names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import ArchSpec, AttentionPattern, MoeSpec
from dlmkit.models.names import Drop, NameMap, Rename, Stack

if TYPE_CHECKING:
    from dlmkit.models.config import Config

__all__ = [
    "block_causal",
    "expert_names",
    "llama_arch",
    "llama_names",
    "qwen2_arch",
    "qwen3_arch",
    "qwen3_moe",
]


def llama_arch(
    config: Config,
    attention: AttentionPattern,
    *,
    qkv_bias: bool = False,
    qk_norm: bool = False,
) -> ArchSpec:
    """Read the field names of Llama and Qwen.

    Raises:
        ModelError: a field is missing or malformed, or what the layout does not have is switched
            on: a sliding window, or biases without `qkv_bias`.
    """
    constants = {"hidden_act": "silu", "mlp_bias": False, "use_sliding_window": False}
    if not qkv_bias:
        constants["attention_bias"] = False
    config.require(constants, config.architecture)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    head_dim = config.integer("head_dim", default=hidden // heads)
    return ArchSpec(
        vocab_rows=config.integer("vocab_size"),
        hidden=hidden,
        layers=config.integer("num_hidden_layers"),
        heads=heads,
        kv_heads=config.integer("num_key_value_heads", default=heads),
        head_dim=head_dim,
        ffn=config.integer("intermediate_size", "dense_intermediate_size"),
        rotary=config.rotary(head_dim),
        max_positions=config.integer("max_position_embeddings"),
        norm_eps=config.number("rms_norm_eps", default=1e-6),
        qkv_bias=qkv_bias,
        qk_norm=qk_norm,
        attention=attention,
    )


def qwen2_arch(config: Config, attention: AttentionPattern) -> ArchSpec:
    """Read a layout derived from Qwen2: biases on q, k and v."""
    return llama_arch(config, attention, qkv_bias=True)


def qwen3_arch(config: Config, attention: AttentionPattern) -> ArchSpec:
    """Read a layout derived from Qwen3: norms on q and k, no bias."""
    return llama_arch(config, attention, qk_norm=True)


def qwen3_moe(config: Config, arch: ArchSpec) -> ArchSpec:
    """Add the experts of Qwen3-MoE: softmax routing, no shared expert, every layer sparse.

    Raises:
        ModelError: a field is missing, or some layers are dense.
    """
    config.require({"decoder_sparse_step": 1, "mlp_only_layers": []}, config.architecture)
    moe = MoeSpec(
        experts=config.integer("num_experts", "num_local_experts"),
        chosen=config.integer("num_experts_per_tok"),
        ffn=config.integer("moe_intermediate_size"),
        renormalise=bool(config.flag("norm_topk_prob")),
    )
    return attrs.evolve(arch, moe=moe)


def llama_names() -> NameMap:
    """Accept the published names, and exports that add `module.` or drop `model.`."""
    return NameMap(
        (
            Drop("{tail}.rotary_emb.inv_freq"),
            *expert_names("model.layers.{layer}.mlp.experts"),
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


def expert_names(source: str) -> tuple[Stack, ...]:
    """Stack the experts that are stored one by one under `source`."""
    return tuple(
        Stack(
            f"{source}.{{expert}}.{part}_proj.weight",
            f"model.layers.{{layer}}.mlp.experts.{part}_proj",
        )
        for part in ("gate", "up", "down")
    )


def block_causal(config: Config, stated: int | None, *, default: int) -> AttentionPattern:
    """Block-causal attention with the user's block, the config's, or the family's.

    Raises:
        ModelError: the config states a block that is not a positive whole number.
    """
    block = stated or config.integer("block_size", "bd_size", default=default)
    return AttentionPattern(kind="block-causal", block=block)
