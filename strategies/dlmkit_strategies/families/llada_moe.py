"""LLaDA-MoE: a masked diffusion model with experts (Zhu et al., arXiv:2509.24389)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern, MoeSpec
from dlmkit.models.family import FamilyDefaults
from dlmkit_strategies.families.llama_family import LlamaFamily
from dlmkit_strategies.families.llama_layout import llama_arch

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["LladaMoe"]

_CONSTANT_SWITCHES = {
    "moe_router_enable_expert_bias": False,
    "moe_router_score_function": "softmax",
    "partial_rotary_factor": 1.0,
    "qk_layernorm": True,
    "routed_scaling_factor": 1,
}
"""Fields that every release has with these values, where it has them."""


@attrs.frozen
class LladaMoe(LlamaFamily):
    """LLaDA-MoE: full attention, norms on q and k, experts in every layer."""

    name = "llada-moe"
    architectures = ("LLaDAMoEModelLM",)
    defaults = FamilyDefaults(
        mask_id=156895,
        eos_ids=(156892,),
        eot_tokens=("<|role_end|>",),
        chat_template=Path(__file__).with_name("llada_moe.jinja"),
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; `model_type` says `llada` here too and is ignored."""
        config.require(_CONSTANT_SWITCHES, config.architecture)
        layers = config.integer("num_hidden_layers")
        config.require({"moe_layer_freq": [1] * layers}, config.architecture)
        moe = MoeSpec(
            experts=config.integer("num_experts", "num_local_experts"),
            chosen=config.integer("num_experts_per_tok"),
            ffn=config.integer("expert_intermediate_size", "moe_intermediate_size"),
            renormalise=bool(config.flag("norm_topk_prob")),
        )
        arch = llama_arch(config, AttentionPattern(), qk_norm=True)
        return attrs.evolve(arch, moe=moe)
