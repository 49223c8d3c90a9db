"""Blocks that stay open to change after they were decided.

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

__all__ = ["GrowingBlocks"]


@attrs.frozen
class GrowingBlocks(Blocks):
    """From the row's first undecided position to the end of its newest block.

    The newest block is the one that holds the last decided token; the next one is added once no
    mask is left before its end.  Revisers may so reopen what lies in earlier blocks, and it is
    decided again before the row goes on.  Source: the block limit of RCR (arXiv:2508.13148) and
    Saber (arXiv:2510.18165).
    """

    name = "growing"

    length: int = option(32, doc="tokens in a block", check=at_least(1))
    partial: bool = option(
        False, doc="allow a shorter last block where gen_length is not a multiple of length"
    )

    def length_problem(self, gen_length: int) -> str | None:
        """The last block must be whole, unless `partial` allows a shorter one."""
        if self.partial or gen_length % self.length == 0:
            return None
        return f"gen_length {gen_length} is not a multiple of the block length {self.length}"

    def current(self, canvas: Canvas) -> BlockSpan:
        """Everything up to the end of the newest block; finished rows keep their last one."""
        columns_N = torch.arange(canvas.tokens_BN.shape[1], device=canvas.tokens_BN.device)
        offset_BN = columns_N - canvas.start_B[:, None]
        decided_BN = canvas.commit_step_BN >= 0
        newest_B = torch.where(decided_BN, offset_BN, 0).amax(dim=1) // self.length
        within_BN = offset_BN < (newest_B[:, None] + 1) * self.length
        full_B = ~(canvas.masked_BN & within_BN).any(dim=1)
        last_B = (canvas.length_B - canvas.start_B - 1).clamp_min(0) // self.length
        index_B = torch.minimum(newest_B + full_B, last_B)
        stop_B = torch.minimum(canvas.start_B + (index_B + 1) * self.length, canvas.length_B)
        return BlockSpan(
            start_B=canvas.start_B, stop_B=stop_B, index_B=index_B, width=canvas.region_width
        )
