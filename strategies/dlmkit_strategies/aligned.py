"""Blocks that coincide with those a block-causal network was trained with.

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

__all__ = ["AlignedBlocks"]


@attrs.frozen
class AlignedBlocks(Blocks):
    """Blocks of one length counted from the start of the row, prompt included.

    The first block is shorter where the prompt ends inside it, the last where the row does; a row
    moves on when its block has no mask left.  Block-causal networks need the length they were
    trained with; then every pass computes whole attention blocks.
    Source: SDAR (arXiv:2510.06303), `block_diffusion_generate`.
    """

    name = "aligned"
    until_filled = True

    length: int = option(32, doc="tokens in a block", check=at_least(1))

    def current(self, canvas: Canvas) -> BlockSpan:
        """The block that holds the row's first mask; finished rows keep their last block."""
        last_B1 = canvas.length_B[:, None] - 1
        first_B = torch.where(canvas.masked_BN, canvas.columns_N, last_B1).amin(dim=1)
        begin_B = first_B // self.length * self.length
        return BlockSpan(
            start_B=begin_B.maximum(canvas.start_B),
            stop_B=(begin_B + self.length).minimum(canvas.length_B),
            index_B=first_B // self.length - canvas.start_B // self.length,
            width=min(self.length, canvas.region_width),
        )
