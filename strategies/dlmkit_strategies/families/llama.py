"""Llama 2 and 3: autoregressive models, used as guides, judges and drafters.

The Llama 3 Herd of Models, arXiv:2407.21783.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults
from dlmkit_strategies.families.llama_family import LlamaFamily
from dlmkit_strategies.families.llama_layout import llama_arch

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Llama"]


@attrs.frozen
class Llama(LlamaFamily):
    """Llama's causal models: row i-1 predicts token i; end tokens as the files state them."""

    name = "llama"
    architectures = ("LlamaForCausalLM",)
    defaults = FamilyDefaults(logit_shift=1, eot_tokens=("<|eot_id|>",))

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is causal."""
        return llama_arch(config, AttentionPattern(kind="causal"))
