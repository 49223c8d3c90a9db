"""LLaDA2.0, 2.1 and 2.2: block diffusion models with many small experts (arXiv:2512.15745)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import MoeSpec
from dlmkit.models.names import Drop, NameMap, Rename, SplitRows
from dlmkit_strategies.families.llada_moe import LladaMoe
from dlmkit_strategies.families.llama_family import BlockFamily
from dlmkit_strategies.families.llama_layout import expert_names, llama_arch

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Llada2"]

_CONSTANT_SWITCHES = {
    "norm_head": False,
    "score_function": "sigmoid",
    "use_bias": False,
    "use_qk_norm": True,
    "use_qkv_bias": False,
}
"""Fields that every release has with these values, where it has them."""

_IN_ATTENTION = {"dense": "o_proj", "query_layernorm": "q_norm", "key_layernorm": "k_norm"}


@attrs.frozen
class Llada2(BlockFamily):
    """LLaDA2: block-causal attention, half of each head rotates, grouped sigmoid routing.

    Releases 2.0 to 2.2 differ in weights and context only.  2.1 and 2.2 replace decided tokens
    (`token-edit`); 2.2 also inserts and deletes, for which there is no public reference.
    """

    name = "llada2"
    architectures = ("LLaDA2MoeModelLM",)
    edits = True  # from 2.1 on; no file says which release a checkpoint is of
    defaults = LladaMoe.defaults  # the same vocabulary and the same turns

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; the first layers are dense."""
        config.require(_CONSTANT_SWITCHES, config.architecture)
        arch = llama_arch(config, self.pattern(config), qk_norm=True)
        half = int(arch.head_dim * config.number("partial_rotary_factor", default=1.0))
        rotary = config.rotary(config.integer("rotary_dim", default=half))
        return attrs.evolve(arch, rotary=rotary, moe=_moe(config))

    def names(self, arch: ArchSpec) -> NameMap:
        """Take q, k and v apart; accept experts one by one or already stacked."""
        attention = "model.layers.{layer}.attention"
        target = "model.layers.{layer}.self_attn"
        rows = (arch.heads, arch.kv_heads, arch.kv_heads)
        return NameMap(
            (
                Drop("{tail}.rotary_emb.inv_freq"),
                SplitRows(
                    f"{attention}.query_key_value.weight",
                    tuple(f"{target}.{part}_proj.weight" for part in "qkv"),
                    tuple(heads * arch.head_dim for heads in rows),
                ),
                *(
                    Rename(f"{attention}.{source}.weight", f"{target}.{part}.weight")
                    for source, part in _IN_ATTENTION.items()
                ),
                *expert_names("model.layers.{layer}.mlp.experts"),
                Rename("model.word_embeddings.weight", "model.embed_tokens.weight"),
                Rename("model.{tail}", "model.{tail}"),
                Rename("lm_head.weight", "lm_head.weight"),
            )
        )


def _moe(config: Config) -> MoeSpec:
    """Read the experts: groups, a bias for choosing, a shared expert."""
    width = config.integer("moe_intermediate_size")
    return MoeSpec(
        experts=config.integer("num_experts", "num_local_experts"),
        chosen=config.integer("num_experts_per_tok"),
        ffn=width,
        score="sigmoid",
        renormalise=config.flag("norm_topk_prob") is not False,
        scale=config.number("routed_scaling_factor", default=1.0),
        groups=config.integer("n_group", default=1),
        kept_groups=config.integer("topk_group", default=1),
        selection_bias=config.flag("moe_router_enable_expert_bias") is not False,
        shared_ffn=width * int(config.number("num_shared_experts", default=0)),
        dense_layers=int(config.number("first_k_dense_replace", default=0)),
    )
