"""WeDLM: diffusion decoding with causal attention (arXiv:2512.22737)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit_strategies.families.llama_layout import llama_arch, llama_names
from dlmkit_strategies.families.qwen_text import QWEN3_ADDED_TOKENS, QWEN_PATTERN

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["WeDlm"]


@attrs.frozen
class WeDlm(ModelFamily):
    """WeDLM: causal attention, as if masked tokens came after the known ones.

    Positions stay true.  Masked rows predict their own token, known rows the next one.  The 7B
    model has the layout of Qwen2.5, the 8B model that of Qwen3.
    """

    name = "wedlm"
    architectures = ("WeDLMForCausalLM",)
    defaults = FamilyDefaults(
        mask_id=151665,
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        chat_template=Path(__file__).with_name("qwen3.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens=QWEN3_ADDED_TOKENS,
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; two flags choose between the layouts."""
        return llama_arch(
            config,
            AttentionPattern(kind="masks-last"),
            qkv_bias=bool(config.flag("attention_bias")),
            qk_norm=bool(config.flag("qk_norm")),
        )

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names that the shared decoder uses."""
        return llama_names()
