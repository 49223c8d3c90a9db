"""Diffusion models that keep an exact autoregressive mode in the same weights.

Nemotron-Labs-Diffusion (NVIDIA, 2026) and Efficient-DLM (Fu et al., arXiv:2512.14067).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.models.arch import AttentionPattern, QueryScale
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit.models.names import NameMap, Rename
from dlmkit_strategies.families.llama_layout import llama_arch, llama_names, qwen3_arch
from dlmkit_strategies.families.qwen_text import QWEN3_DEFAULTS

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["EfficientDlm", "Nemotron"]

_BLOCK = "positions decoded together, after a causal prefix; null takes the config's, else 32"

Mode = Literal["diffusion", "causal"]
_MODE = "decode blocks freely after a causal prefix, or as the causal model in the same weights"


@attrs.frozen
class TwoModes(ModelFamily):
    """What both have in common: which of the two models in the weights is used.

    In self-speculation one drafts and the other verifies: name the checkpoint twice in `models`.
    """

    block: int | None = option(None, doc=_BLOCK, check=at_least(1))
    mode: Mode = option("diffusion", doc=_MODE)

    def logit_shift(self) -> int:
        """Causal rows predict the next token, free ones their own."""
        return int(self.mode == "causal")

    def pattern(self, config: Config) -> AttentionPattern:
        """Causal, or a free block of that many positions after a causal prefix."""
        if self.mode == "causal":
            return AttentionPattern(kind="causal")
        block = self.block or config.integer("block_size", default=32)
        return AttentionPattern(kind="prefix-causal", block=block)

    def names(self, arch: ArchSpec) -> NameMap:
        """Map `encoder` and `diffusion_head`; accept the names of Llama and Qwen too."""
        return NameMap(
            (
                Rename("encoder.{tail}", "model.{tail}"),
                Rename("diffusion_head.weight", "lm_head.weight"),
                *llama_names().rules,
            )
        )


@attrs.frozen
class Nemotron(TwoModes):
    """Nemotron-Labs-Diffusion: YaRN, queries scaled by position, prefix causal, block free."""

    name = "nemotron-diffusion"
    architectures = ("NemotronLabsDiffusionModel",)
    defaults = FamilyDefaults(mask_id=100, eos_ids=(11,))

    def arch(self, config: Config) -> ArchSpec:
        """Read the config, which is that of Ministral 3."""
        arch = llama_arch(config, self.pattern(config))
        nested = config.nested("rope_parameters", "rope_scaling")
        beta = nested.number("llama_4_scaling_beta", default=0)
        if not beta:
            return arch
        original = nested.integer("original_max_position_embeddings")
        return attrs.evolve(arch, query_scale=QueryScale(beta=beta, original=original))


@attrs.frozen
class EfficientDlm(TwoModes):
    """Efficient-DLM: the layout of Qwen3 (Qwen2.5 for 1.5B), prefix causal, block free.

    `model_type` says `qwen3`, which would decode it autoregressively without an error.
    """

    name = "efficient-dlm"
    architectures = ("EfficientDLM",)
    defaults = attrs.evolve(QWEN3_DEFAULTS, mask_id=151662)

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; a bias on q, k and v marks the Qwen2.5 layout."""
        pattern = self.pattern(config)
        if config.flag("attention_bias"):
            return llama_arch(config, pattern, qkv_bias=True)
        return qwen3_arch(config, pattern)
