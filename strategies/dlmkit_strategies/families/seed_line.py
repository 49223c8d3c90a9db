"""Diffusion models in the plain Llama layout: iLLaDA and Stable-DiffCoder.

iLLaDA (2026); Stable-DiffCoder (Fan et al., arXiv:2601.15892).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit_strategies.families.llama_layout import block_causal, llama_arch, llama_names

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["Illada", "StableDiffCoder"]


@attrs.frozen
class Illada(ModelFamily):
    """iLLaDA: grouped heads, head tied to the embedding, full attention."""

    name = "illada"
    architectures = ("ILLaDAForCausalLM",)
    defaults = FamilyDefaults(mask_id=5, eos_ids=(2,))

    def arch(self, config: Config) -> ArchSpec:
        """Read the config."""
        config.require({"attention_bias": False}, config.architecture)
        return llama_arch(config, AttentionPattern())

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names of Llama."""
        return llama_names()


@attrs.frozen
class StableDiffCoder(ModelFamily):
    """Stable-DiffCoder: block-causal attention; row i predicts token i.

    `model_type` says `llama`, which would decode it autoregressively without an error.
    """

    name = "stable-diffcoder"
    architectures = ("StableDiffcoderForCausalLM",)
    defaults = FamilyDefaults(mask_id=5, eos_ids=(2,))

    block: int | None = option(
        None,
        doc="positions per attention block; null takes the config's, else 4",
        check=at_least(1),
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config."""
        config.require({"attention_bias": False}, config.architecture)
        return llama_arch(config, block_causal(config, self.block, default=4))

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names of Llama."""
        return llama_names()
