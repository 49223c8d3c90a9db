"""SDAR and TraDo: block diffusion models adapted from Qwen3, dense and with experts.

SDAR (Cheng et al., arXiv:2510.06303); TraDo (Wang et al., arXiv:2509.06949).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit_strategies.families.llama_layout import (
    block_causal,
    llama_names,
    qwen3_arch,
    qwen3_moe,
)
from dlmkit_strategies.families.qwen_text import QWEN3_ADDED_TOKENS, QWEN_PATTERN

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["Sdar"]


@attrs.frozen
class Sdar(ModelFamily):
    """SDAR and TraDo: block-causal attention, row i predicts token i.

    Releases say their block only in the repository's name (`-b8`): state it where it is not 4.
    """

    name = "sdar"
    architectures = ("SDARForCausalLM", "SDARMoeForCausalLM")
    defaults = FamilyDefaults(
        mask_id=151669,
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        chat_template=Path(__file__).with_name("qwen3.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens={**QWEN3_ADDED_TOKENS, "<|MASK|>": 151669},
    )

    block: int | None = option(
        None,
        doc="positions per attention block; null takes the config's, else 4",
        check=at_least(1),
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config of a dense model or one with experts."""
        arch = qwen3_arch(config, block_causal(config, self.block, default=4))
        return qwen3_moe(config, arch) if "Moe" in config.architecture else arch

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names of Qwen3."""
        return llama_names()
