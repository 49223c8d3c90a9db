"""Dream and its line: diffusion models adapted from Qwen2.5-7B.

Dream 7B (Ye et al., arXiv:2508.15487), Dream-Coder, DreamOn, DiffuCoder (Gong et al.,
arXiv:2506.20639); and DreamReasoner, which is adapted from Qwen3-8B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.errors import ModelError
from dlmkit.models.arch import AttentionPattern
from dlmkit_strategies.families.llama_family import BlockFamily, LlamaFamily
from dlmkit_strategies.families.llama_layout import qwen2_arch, qwen3_arch
from dlmkit_strategies.families.qwen_text import QWEN2_DEFAULTS, QWEN3_DEFAULTS, QWEN_ADDED_TOKENS

if TYPE_CHECKING:
    from collections.abc import Collection

    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Dream", "DreamReasoner"]


@attrs.frozen
class Dream(LlamaFamily):
    """The Dream line: Qwen2 layout with biases on q, k and v; row i-1 predicts token i."""

    name = "dream"
    architectures = ("DreamModel",)
    defaults = attrs.evolve(
        QWEN2_DEFAULTS,
        mask_id=151666,
        added_tokens={**QWEN_ADDED_TOKENS, "<|beginoftext|>": 151665, "<|mask|>": 151666},
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is full."""
        return qwen2_arch(config, AttentionPattern(kind="full"))

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


@attrs.frozen
class DreamReasoner(BlockFamily):
    """DreamReasoner: Qwen3 layout, block-causal attention, row i predicts token i."""

    name = "dream-reasoner"
    architectures = ("DreamForCausalLM",)
    defaults = attrs.evolve(QWEN3_DEFAULTS, mask_id=151669)

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is block-causal."""
        return qwen3_arch(config, self.pattern(config))
