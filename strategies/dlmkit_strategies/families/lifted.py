"""Autoregressive layouts with the causal mask lifted: full attention over stock tensors.

Open-dCoder (Open Diffusion Coder, 2025), and models converted with dLLM's A2D recipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.models.arch import AttentionPattern
from dlmkit_strategies.families.llama_family import LlamaFamily
from dlmkit_strategies.families.llama_layout import llama_arch, qwen2_arch, qwen3_arch
from dlmkit_strategies.families.qwen_text import QWEN2_DEFAULTS, QWEN3_DEFAULTS

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.models.config import Config

__all__ = ["Converted", "OpenDcoder"]


@attrs.frozen
class OpenDcoder(LlamaFamily):
    """Open-dCoder: Qwen2 with full attention; row i-1 predicts token i.

    Its files say `Qwen2ForCausalLM`, as the autoregressive models do, so no architecture leads
    here: the user has to name this family (`family: open-dcoder`).
    """

    name = "open-dcoder"
    defaults = attrs.evolve(QWEN2_DEFAULTS, chat_template=None)

    def arch(self, config: Config) -> ArchSpec:
        """Read the config; attention is full."""
        return qwen2_arch(config, AttentionPattern())


@attrs.frozen
class Converted(LlamaFamily):
    """Models converted with A2D: row i predicts token i; attention is full or block-causal."""

    name = "a2d"
    architectures = ("A2DLlamaLMHeadModel", "A2DQwen2LMHeadModel", "A2DQwen3LMHeadModel")
    defaults = attrs.evolve(QWEN3_DEFAULTS, eos_ids=(151645,), eot_ids=())

    block: int | None = option(
        None,
        doc="positions per attention block of a block diffusion model; null: full attention",
        check=at_least(1),
    )

    def arch(self, config: Config) -> ArchSpec:
        """Read the config of the model that was converted."""
        pattern = AttentionPattern()
        if self.block is not None:
            pattern = AttentionPattern(kind="block-causal", block=self.block)
        if "Qwen3" in config.architecture:
            return qwen3_arch(config, pattern)
        return llama_arch(config, pattern, qkv_bias="Qwen2" in config.architecture)
