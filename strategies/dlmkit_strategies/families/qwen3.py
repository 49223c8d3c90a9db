"""Qwen3 and Qwen3-MoE: autoregressive models, used as guides, judges and drafters.

Qwen3 Technical Report, arXiv:2505.09388.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit_strategies.families.llama_layout import llama_names, qwen3_arch, qwen3_moe
from dlmkit_strategies.families.qwen_text import QWEN3_ADDED_TOKENS, QWEN_PATTERN

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["Qwen3"]


@attrs.frozen
class Qwen3(ModelFamily):
    """Qwen3's causal models, dense or with experts: row i-1 predicts token i; no mask token."""

    name = "qwen3"
    architectures = ("Qwen3ForCausalLM", "Qwen3MoeForCausalLM")
    defaults = FamilyDefaults(
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        logit_shift=1,
        chat_template=Path(__file__).with_name("qwen3.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens=QWEN3_ADDED_TOKENS,
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is causal."""
        arch = qwen3_arch(config, AttentionPattern(kind="causal"))
        return qwen3_moe(config, arch) if "Moe" in config.architecture else arch

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names that the shared decoder uses."""
        return llama_names()
