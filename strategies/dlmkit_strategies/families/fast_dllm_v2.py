"""Fast-dLLM v2: block diffusion models adapted from Qwen2.5 (Wu et al., arXiv:2509.26328)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit_strategies.families.llama_family import BlockFamily
from dlmkit_strategies.families.llama_layout import qwen2_arch
from dlmkit_strategies.families.qwen_text import QWEN2_DEFAULTS, QWEN_ADDED_TOKENS

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["FastDllmV2"]


@attrs.frozen
class FastDllmV2(BlockFamily):
    """Fast-dLLM v2: block-causal attention; row i-1 predicts token i."""

    name = "fast-dllm-v2"
    architectures = ("Fast_dLLM_QwenForCausalLM",)
    defaults = attrs.evolve(
        QWEN2_DEFAULTS,
        mask_id=151665,
        added_tokens={**QWEN_ADDED_TOKENS, "|<MASK>|": 151665},
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; the block is `bd_size`."""
        return qwen2_arch(config, self.pattern(config))
