"""What families in the layout of Llama and Qwen have in common.

A family says where it differs: its architectures, its conventions, and the switches of `arch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.models.family import ModelFamily
from dlmkit_strategies.families.llama_layout import block_causal, llama_names

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec, AttentionPattern
    from dlmkit.models.config import Config
    from dlmkit.models.names import NameMap

__all__ = ["BlockFamily", "LlamaFamily"]


class LlamaFamily(ModelFamily):
    """A family whose tensors have the names that the shared decoder uses."""

    def names(self, arch: ArchSpec) -> NameMap:
        """Read the tensors under the names of Llama."""
        return llama_names()


@attrs.frozen
class BlockFamily(LlamaFamily):
    """One with block-causal attention; `usual_block` holds where neither user nor config says."""

    usual_block: ClassVar[int] = 32

    block: int | None = option(
        None,
        doc="positions per attention block; null takes the config's, else that of most releases",
        check=at_least(1),
    )

    def pattern(self, config: Config) -> AttentionPattern:
        """The attention of the checkpoint."""
        return block_causal(config, self.block, default=self.usual_block)
