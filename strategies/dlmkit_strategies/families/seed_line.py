"""Diffusion models in the plain Llama layout: iLLaDA and Stable-DiffCoder.

iLLaDA (2026); Stable-DiffCoder (Fan et al., arXiv:2601.15892).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults
from dlmkit_strategies.families.llama_family import BlockFamily, LlamaFamily
from dlmkit_strategies.families.llama_layout import llama_arch

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Illada", "StableDiffCoder"]

_DEFAULTS = FamilyDefaults(mask_id=5, eos_ids=(2,))
"""Conventions of both, which share a vocabulary."""


@attrs.frozen
class Illada(LlamaFamily):
    """iLLaDA: grouped heads, head tied to the embedding, full attention."""

    name = "illada"
    architectures = ("ILLaDAForCausalLM",)
    defaults = _DEFAULTS

    def arch(self, config: Config) -> ArchSpec:
        """Read the config."""
        return llama_arch(config, AttentionPattern())


@attrs.frozen
class StableDiffCoder(BlockFamily):
    """Stable-DiffCoder: block-causal attention; row i predicts token i.

    `model_type` says `llama`, which would decode it autoregressively without an error.
    """

    name = "stable-diffcoder"
    architectures = ("StableDiffcoderForCausalLM",)
    usual_block = 4
    defaults = _DEFAULTS

    def arch(self, config: Config) -> ArchSpec:
        """Read the config."""
        return llama_arch(config, self.pattern(config))
