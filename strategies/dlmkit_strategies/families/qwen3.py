"""Qwen3 and Qwen3-MoE: autoregressive models, used as guides, judges and drafters.

Qwen3 Technical Report, arXiv:2505.09388.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit_strategies.families.llama_family import LlamaFamily
from dlmkit_strategies.families.llama_layout import qwen3_arch, qwen3_moe
from dlmkit_strategies.families.qwen_text import QWEN3_DEFAULTS

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Qwen3"]


@attrs.frozen
class Qwen3(LlamaFamily):
    """Qwen3's causal models, dense or with experts: row i-1 predicts token i; no mask token."""

    name = "qwen3"
    architectures = ("Qwen3ForCausalLM", "Qwen3MoeForCausalLM")
    defaults = attrs.evolve(QWEN3_DEFAULTS, logit_shift=1)

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is causal."""
        arch = qwen3_arch(config, AttentionPattern(kind="causal"))
        return qwen3_moe(config, arch) if "Moe" in config.architecture else arch
