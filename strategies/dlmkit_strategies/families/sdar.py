"""SDAR and TraDo: block diffusion models adapted from Qwen3, dense and with experts.

SDAR (Cheng et al., arXiv:2510.06303); TraDo (Wang et al., arXiv:2509.06949).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit_strategies.families.llama_family import BlockFamily
from dlmkit_strategies.families.llama_layout import qwen3_arch, qwen3_moe
from dlmkit_strategies.families.qwen_text import QWEN3_ADDED_TOKENS, QWEN3_DEFAULTS

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Sdar"]


@attrs.frozen
class Sdar(BlockFamily):
    """SDAR and TraDo: block-causal attention, row i predicts token i.

    Releases say their block only in the repository's name (`-b8`): state it where it is not 4.
    """

    name = "sdar"
    architectures = ("SDARForCausalLM", "SDARMoeForCausalLM")
    usual_block = 4
    defaults = attrs.evolve(
        QWEN3_DEFAULTS, mask_id=151669, added_tokens={**QWEN3_ADDED_TOKENS, "<|MASK|>": 151669}
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config of a dense model or one with experts."""
        arch = qwen3_arch(config, self.pattern(config))
        return qwen3_moe(config, arch) if "Moe" in config.architecture else arch
