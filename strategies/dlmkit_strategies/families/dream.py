"""Dream and its line: diffusion models adapted from Qwen2.5-7B.

Dream 7B (Ye et al., arXiv:2508.15487), Dream-Coder, DreamOn, DiffuCoder (Gong et al.,
arXiv:2506.20639); and DreamReasoner, which is adapted from Qwen3-8B.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.errors import ModelError
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.family import FamilyDefaults, ModelFamily
from dlmkit_strategies.families.llama_layout import (
    block_causal,
    llama_names,
    qwen2_arch,
    qwen3_arch,
)
from dlmkit_strategies.families.qwen_text import (
    QWEN3_ADDED_TOKENS,
    QWEN_ADDED_TOKENS,
    QWEN_PATTERN,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["Dream", "DreamReasoner"]


@attrs.frozen
class Dream(ModelFamily):
    """The Dream line: Qwen2 layout with biases on q, k and v; row i-1 predicts token i."""

    name = "dream"
    architectures = ("DreamModel",)
    defaults = FamilyDefaults(
        mask_id=151666,
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        logit_shift=1,
        chat_template=Path(__file__).with_name("chatml.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens={**QWEN_ADDED_TOKENS, "<|beginoftext|>": 151665, "<|mask|>": 151666},
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is full."""
        return qwen2_arch(config, AttentionPattern(kind="full"))

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names of Qwen2."""
        return llama_names()

    def confirm(self, config: Config, tensor_names: Collection[str]) -> None:
        """Refuse Qwen3-style relatives that share the model type but not the layout."""
        if any(name.endswith("self_attn.q_norm.weight") for name in tensor_names):
            raise ModelError(
                f"{config.origin} says DreamModel, but the files hold q/k norm tensors, "
                "which that architecture does not have",
                hint="correct `architectures` in config.json; DreamReasoner is DreamForCausalLM",
            )
        if not any(name.endswith("self_attn.q_proj.bias") for name in tensor_names):
            raise ModelError(
                f"{config.origin} says DreamModel, but the files hold no q/k/v biases, "
                "which that architecture requires",
                hint="correct `architectures` in config.json, or download the checkpoint again",
            )


@attrs.frozen
class DreamReasoner(ModelFamily):
    """DreamReasoner: Qwen3 layout, block-causal attention, row i predicts token i."""

    name = "dream-reasoner"
    architectures = ("DreamForCausalLM",)
    defaults = FamilyDefaults(
        mask_id=151669,
        eos_ids=(151643,),
        eot_ids=(151645,),
        eot_tokens=("<|im_end|>",),
        chat_template=Path(__file__).with_name("qwen3.jinja"),
        bpe_pattern=QWEN_PATTERN,
        added_tokens=QWEN3_ADDED_TOKENS,
    )

    block: int | None = option(
        None,
        doc="positions per attention block; null takes the config's, else 32",
        check=at_least(1),
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is block-causal."""
        return qwen3_arch(config, block_causal(config, self.block, default=32))

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names of Qwen3."""
        return llama_names()
