"""Blocks: which span of each row is decoded now.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import attrs
import torch

from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.roles import Blocks
from dlmkit.view import BlockSpan

__all__ = ["FixedBlocks"]


@attrs.frozen
class FixedBlocks(Blocks):
    """Blocks of one length from left to right; a row moves on when its block has no mask left.

    Blocks are counted from each row's first undecided position, so rows may sit in different
    blocks.  Source: semi-autoregressive decoding in LLaDA (arXiv:2502.09992), section 2.4.
    """

    name = "fixed"
    until_filled = True

    length: int = option(32, doc="tokens in a block", check=at_least(1))
    partial: bool = option(
        False, doc="allow a shorter last block where gen_length is not a multiple of length"
    )

    def planned_width(self, gen_length: int) -> int:
        """The chosen length."""
        return min(self.length, gen_length)

    def length_problem(self, gen_length: int) -> str | None:
        """The last block must be whole, unless `partial` allows a shorter one."""
        if self.partial or gen_length % self.length == 0:
            return None
        return f"gen_length {gen_length} is not a multiple of the block length {self.length}"

    def current(self, canvas: Canvas) -> BlockSpan:
        """The block that holds the row's first mask; finished rows keep their last block."""
        last_B = canvas.length_B - 1
        first_B = torch.where(canvas.masked_BN, canvas.columns_N, last_B[:, None]).amin(dim=1)
        index_B = (first_B - canvas.start_B) // self.length
        start_B = canvas.start_B + index_B * self.length
        stop_B = torch.minimum(start_B + self.length, canvas.length_B)
        width = min(self.length, canvas.region_width)
        return BlockSpan(start_B=start_B, stop_B=stop_B, index_B=index_B, width=width)
