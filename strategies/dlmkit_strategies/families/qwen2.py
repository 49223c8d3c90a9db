"""Qwen2 and Qwen2.5: autoregressive models, used as guides, judges and drafters.

Qwen2 Technical Report, arXiv:2407.10671.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit_strategies.families.llama_layout import llama_names, qwen2_arch
from dlmkit_strategies.families.qwen_text import QWEN_ADDED_TOKENS, QWEN_PATTERN

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["Qwen2"]


@attrs.frozen
class Qwen2(ModelFamily):
    """Qwen2's dense causal models: row i-1 predicts token i; no mask token of their own."""

    name = "qwen2"
    architectures = ("Qwen2ForCausalLM",)
    defaults = FamilyDefaults(
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        logit_shift=1,
        chat_template=Path(__file__).with_name("chatml.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens=QWEN_ADDED_TOKENS,
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is causal."""
        return qwen2_arch(config, AttentionPattern(kind="causal"))

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names that the shared decoder uses."""
        return llama_names()
