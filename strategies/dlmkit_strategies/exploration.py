"""Explore, then exploit: windows over several blocks, and commits that teach the network most.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.roles import Blocks, TransferRule
from dlmkit.view import BlockSpan, View
from dlmkit_strategies.kernels import ends_text, top_n

__all__ = ["Explore", "SlidingBlocks"]

_PROBABILITY = (at_least(0), at_most(1))


@attrs.frozen
class SlidingBlocks(Blocks):
    """Several blocks at once: the first that has a mask, and those after it.

    What is sure in a later block is so decided before the first is complete.  The window moves on
    when its first block has no mask left, and is cut at the end of the row.
    Source: cross-block decoding in ETE (arXiv:2511.21103), which has no public code.
    """

    name = "sliding"

    length: int = option(32, doc="tokens in a block", check=at_least(1))
    count: int = option(2, doc="blocks in the window", check=at_least(1))

    def current(self, canvas: Canvas) -> BlockSpan:
        """From the block that holds the row's first mask on."""
        last_B1 = canvas.length_B[:, None] - 1
        first_B = torch.where(canvas.masked_BN, canvas.columns_N, last_B1).amin(dim=1)
        index_B = (first_B - canvas.start_B) // self.length
        start_B = canvas.start_B + index_B * self.length
        width = min(self.length * self.count, canvas.region_width)
        return BlockSpan(
            start_B=start_B,
            stop_B=torch.minimum(start_B + width, canvas.length_B),
            index_B=index_B,
            width=width,
        )


@attrs.frozen
class Explore(TransferRule):
    """Sure positions; where they are few, also the most uncertain one that is still likely.

    A sure token says little that the network did not know, so a step of few sure ones commits a
    pivot as well: the position of largest entropy whose proposal is at least `floor` likely and
    does not end the text, near the start of the span; without one, the best position.
    Source: ETE-style, a reconstruction from the abstract of arXiv:2511.21103, which has no public
    code: theta, the stall level q and the floor rho; `explore-ahead` tries several pivots.
    """

    name = "explore"
    reads = frozenset({"probability"})
    need = Need(entropy=True)
    doubtful = True

    threshold: float = option(0.9, doc="probability that is always committed", check=_PROBABILITY)
    floor: float = option(0.3, doc="smallest probability of a pivot", check=_PROBABILITY)
    enough: int = option(2, doc="sure positions that need no pivot", check=at_least(1))
    reach: int = option(
        32, doc="positions from the start of the span in which it explores", check=at_least(1)
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse a floor above the threshold."""
        if options["floor"] > options["threshold"]:
            yield "floor", "must not exceed `threshold`", "lower it, or raise `threshold`"

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Sure positions, the pivot of a stalled row, and at least the best one."""
        sure_BP = self.sure(confidence_BP, view)
        pivot_BP = self.pivots(confidence_BP, view, 1)
        best_BP = top_n(confidence_BP, view.eligible_BP, 1)
        none_B1 = ~pivot_BP.any(dim=1, keepdim=True)
        stalled_B1 = self.stalled(sure_BP)[:, None]
        return sure_BP | (stalled_B1 & (pivot_BP | (none_B1 & best_BP)))

    def sure(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Positions that reach the threshold, `sure_BP` bool."""
        return (confidence_BP >= self.threshold) & view.eligible_BP

    def stalled(self, sure_BP: Tensor) -> Tensor:
        """Rows with too few sure positions, `stalled_B` bool."""
        return sure_BP.sum(dim=1) < self.enough

    def pivots(self, confidence_BP: Tensor, view: View, count: int) -> Tensor:
        """So many of the least certain likely positions near the span's start, `pivot_BP` bool."""
        entropy_BP = view.proposal.prediction.pack.entropy_BP
        assert entropy_BP is not None  # noqa: S101 - declared in `need`
        near_BP = view.positions_BP - view.block.start_B[:, None] < self.reach
        likely_BP = near_BP & (confidence_BP >= self.floor) & view.eligible_BP
        likely_BP = likely_BP & ~ends_text(view.proposal.tokens_BP, view.info)
        return top_n(entropy_BP, likely_BP & ~self.sure(confidence_BP, view), count)
