"""WeDLM: diffusion decoding with causal attention (arXiv:2512.22737)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit_strategies.families.llama_family import LlamaFamily
from dlmkit_strategies.families.llama_layout import llama_arch
from dlmkit_strategies.families.qwen_text import QWEN3_DEFAULTS

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["WeDlm"]


@attrs.frozen
class WeDlm(LlamaFamily):
    """WeDLM: causal attention, as if masked tokens came after the known ones.

    Positions stay true.  Masked rows predict their own token, known rows the next one.  The 7B
    model has the layout of Qwen2.5, the 8B model that of Qwen3.
    """

    name = "wedlm"
    architectures = ("WeDLMForCausalLM",)
    defaults = attrs.evolve(QWEN3_DEFAULTS, mask_id=151665)

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; two flags choose between the layouts."""
        return llama_arch(
            config,
            AttentionPattern(kind="masks-last"),
            qkv_bias=bool(config.flag("attention_bias")),
            qk_norm=bool(config.flag("qk_norm")),
        )
