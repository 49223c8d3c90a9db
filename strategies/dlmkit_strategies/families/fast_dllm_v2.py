"""Fast-dLLM v2: block diffusion models adapted from Qwen2.5 (Wu et al., arXiv:2509.26328)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit_strategies.families.llama_layout import block_causal, llama_names, qwen2_arch
from dlmkit_strategies.families.qwen_text import QWEN_ADDED_TOKENS, QWEN_PATTERN

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["FastDllmV2"]


@attrs.frozen
class FastDllmV2(ModelFamily):
    """Fast-dLLM v2: block-causal attention; row i-1 predicts token i."""

    name = "fast-dllm-v2"
    architectures = ("Fast_dLLM_QwenForCausalLM",)
    defaults = FamilyDefaults(
        mask_id=151665,
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        logit_shift=1,
        chat_template=Path(__file__).with_name("chatml.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens={**QWEN_ADDED_TOKENS, "|<MASK>|": 151665},
    )

    block: int | None = option(
        None,
        doc="positions per attention block; null takes the config's, else 32",
        check=at_least(1),
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; the block is `bd_size`."""
        return qwen2_arch(config, block_causal(config, self.block, default=32))

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names of Qwen2."""
        return llama_names()
