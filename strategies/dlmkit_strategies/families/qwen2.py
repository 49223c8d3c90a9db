"""Qwen2 and Qwen2.5: autoregressive models, used as guides, judges and drafters.

Qwen2 Technical Report, arXiv:2407.10671.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit_strategies.families.llama_family import LlamaFamily
from dlmkit_strategies.families.llama_layout import qwen2_arch
from dlmkit_strategies.families.qwen_text import QWEN2_DEFAULTS

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Qwen2"]


@attrs.frozen
class Qwen2(LlamaFamily):
    """Qwen2's dense causal models: row i-1 predicts token i; no mask token of their own."""

    name = "qwen2"
    architectures = ("Qwen2ForCausalLM",)
    defaults = QWEN2_DEFAULTS

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is causal."""
        return qwen2_arch(config, AttentionPattern(kind="causal"))
