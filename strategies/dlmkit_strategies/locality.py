"""Transfer rules that look at where a position lies: beside sure ones, in a run, on a grid.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.host.constants import constant
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n

__all__ = ["Dilated", "LocalLeap", "RunBest"]

_PROBABILITY = (at_least(0), at_most(1))


@attrs.frozen
class LocalLeap(TransferRule):
    """Positions over a threshold, and those near them over a lower one; at least the best one.

    Anchors are the sure positions of this step; what the lower threshold admits does not anchor
    in turn.  Source: LocalLeap (arXiv:2510.07081), theta, rho and w in positions.
    """

    name = "local-leap"
    locality = "near"
    reads = frozenset({"probability"})

    threshold: float = option(0.9, doc="probability of an anchor", check=_PROBABILITY)
    relaxed: float = option(0.75, doc="probability needed near an anchor", check=_PROBABILITY)
    radius: int = option(4, doc="how far an anchor reaches, in positions", check=at_least(0))

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse a relaxed threshold above the other."""
        if options["relaxed"] > options["threshold"]:
            yield "relaxed", "must not exceed `threshold`", "lower it, or raise `threshold`"

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Anchors, their sure enough neighbours, and the best one."""
        anchor_BP = (confidence_BP >= self.threshold) & view.eligible_BP
        reach = 2 * self.radius + 1
        near_BP = torch.nn.functional.max_pool1d(
            anchor_BP.float()[:, None], reach, stride=1, padding=self.radius
        )[:, 0]
        relaxed_BP = (near_BP > 0) & (confidence_BP >= self.relaxed) & view.eligible_BP
        return anchor_BP | relaxed_BP | top_n(confidence_BP, view.eligible_BP, 1)


@attrs.frozen
class RunBest(TransferRule):
    """The best position of every unbroken run of masks, if likely; all sure ones; the best of all.

    Deciding in the middle of each gap divides and conquers.  Source: hierarchy decoding in dInfer
    (arXiv:2510.08666), `HierarchyDecoder`.
    """

    name = "run-best"
    locality = "far"
    reads = frozenset({"probability"})

    threshold: float = option(0.9, doc="probability that is always committed", check=_PROBABILITY)
    low: float = option(0.4, doc="probability the best of a run must exceed", check=_PROBABILITY)

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Run maxima over `low`, everything over `threshold`, and the best one."""
        eligible_BP = view.eligible_BP
        likely_BP = _best_of_runs(confidence_BP, eligible_BP) & (confidence_BP > self.low)
        sure_BP = (confidence_BP > self.threshold) & eligible_BP
        return likely_BP | sure_BP | top_n(confidence_BP, eligible_BP, 1)


def _best_of_runs(confidence_BP: Tensor, eligible_BP: Tensor) -> Tensor:
    """The most confident position of each run of eligible positions, ties to the lowest, bool."""
    run_BP = (~eligible_BP).cumsum(dim=1)
    score_BP = confidence_BP.masked_fill(~eligible_BP, -torch.inf)
    columns_P = torch.arange(run_BP.shape[1], device=run_BP.device)
    size = run_BP.shape[1] + 1
    best_BR = score_BP.new_full((run_BP.shape[0], size), -torch.inf)
    best_BR = best_BR.scatter_reduce(1, run_BP, score_BP, "amax")
    top_BP = eligible_BP & (score_BP == best_BR.gather(1, run_BP))
    first_BR = torch.full_like(best_BR, size, dtype=torch.int64)
    place_BP = torch.where(top_BP, columns_P, size)
    first_BR = first_BR.scatter_reduce(1, run_BP, place_BP, "amin")
    return top_BP & (columns_P == first_BR.gather(1, run_BP))


@attrs.frozen
class Dilated(TransferRule):
    """Positions far apart first: every stride-th of the block, with strides that shrink.

    The strides are width / base^(1 + skip), then each time divided by the base, down to 1; so a
    block takes about log(width) steps, whatever the network says.  Doubtful positions wait for the
    last step.  Source: dilated unmasking (DUS, arXiv:2506.19037).
    """

    name = "dilated"
    locality = "far"
    reads = frozenset({"probability"})

    base: int = option(2, doc="ratio of successive strides", check=at_least(2))
    skip: int = option(0, doc="coarsest strides left out", check=at_least(0))
    doubt: float = option(0.0, doc="probability under which a position waits", check=_PROBABILITY)

    def strides(self, width: int) -> list[int]:
        """The stride of each step, falling to 1."""
        first = self.base ** (1 + self.skip)
        found = [max(1, -(-width // first))]
        while found[-1] > 1:
            found.append(-(-found[-1] // self.base))
        return found

    def steps_per_block(self, width: int) -> int:
        """One for each stride."""
        return len(self.strides(width))

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Sure positions on this step's grid, at the end everything, and the best one."""
        strides = constant(tuple(self.strides(view.block.width)), confidence_BP.device)
        step_B = view.block_step_B.clamp_max(len(strides) - 1)
        offset_BP = view.positions_BP - view.block.start_B[:, None]
        on_grid_BP = offset_BP % strides[step_B][:, None] == 0
        last_B1 = (step_B == len(strides) - 1)[:, None]
        due_BP = (on_grid_BP & (confidence_BP >= self.doubt)) | last_B1
        return (due_BP & view.eligible_BP) | top_n(confidence_BP, view.eligible_BP, 1)
