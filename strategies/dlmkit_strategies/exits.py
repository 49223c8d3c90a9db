"""Early exits: fill everything once the answer is plain, Prophet and SchED.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import StateField, option
from dlmkit.errors import StrategyError
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import EarlyExit, Exit
from dlmkit.schedules import Schedule, value_at
from dlmkit.view import View
from dlmkit_strategies.positions import read, write

__all__ = ["Gap", "Settled"]

_SHARE = (at_least(0), at_most(1))
_START = "first position looked at, counted from the row's first undecided one"
_LENGTH = "number of positions looked at; absent: all that follow"
_SCOPE = "what is filled: the block, or all that is left of the row"


@attrs.frozen
class Gap(EarlyExit):
    """Exit a row once its two best tokens lie far enough apart, on average.

    The gap is the difference of the two largest logits.  A schedule over steps counts this one
    too: the last of T steps is at 1; with `stretched` the first is at 0 as well.
    Source: Prophet (arXiv:2508.19982): the mean over an answer span, in three stages; SchED
    (arXiv:2512.02892): the mean over the whole region; its code averages masked positions only.
    """

    name = "gap"
    need = Need(top=2)
    span = "region"

    threshold: float | Schedule = option(doc="smallest gap that exits", check=at_least(0))
    stretched: bool = option(False, doc="count steps from 0 to 1, both included")
    start: int = option(0, doc=_START, check=at_least(0))
    length: int | None = option(None, doc=_LENGTH, check=at_least(1))
    positions: Literal["all", "masked"] = option(
        "all", doc="which are averaged; where none is masked, `masked` exits"
    )
    statistic: Literal["mean", "median", "quantile"] = option("mean", doc="how they are averaged")
    quantile: float = option(0.2, doc="the share below, for `quantile`", check=_SHARE)
    scope: Literal["block", "canvas"] = option("canvas", doc=_SCOPE)

    def anchored(self) -> bool:
        """Where a part of the region is named."""
        return self.start > 0 or self.length is not None

    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit:
        """Rows whose average gap reaches the threshold."""
        where_BP = _looked_at(view, self.start, self.length, self.scope)
        empty_exits = self.positions == "masked"
        if empty_exits:
            where_BP = where_BP & view.masked_BP
        top_BPK = prediction.pack.top_logp_BPK
        gap_B = self._average(top_BPK[..., 0] - top_BPK[..., 1], where_BP)
        limit_B1 = self._limit(view)
        reached_B = (gap_B[:, None] >= limit_B1).all(dim=1)
        return Exit(torch.where(where_BP.any(dim=1), reached_B, empty_exits), self.scope)

    def _average(self, gap_BP: Tensor, where_BP: Tensor) -> Tensor:
        count_B = where_BP.sum(dim=1).clamp_min(1)
        if self.statistic == "mean":
            return torch.where(where_BP, gap_BP, 0.0).sum(dim=1) / count_B
        sorted_BP = torch.where(where_BP, gap_BP, torch.inf).sort(dim=1).values
        if self.statistic == "median":
            return sorted_BP.gather(1, (count_B[:, None] - 1) // 2)[:, 0]
        place_B = (self.quantile * (count_B - 1)).to(gap_BP.dtype)
        low_B1, high_B1 = place_B.floor().long()[:, None], place_B.ceil().long()[:, None]
        low_B, high_B = sorted_BP.gather(1, low_B1)[:, 0], sorted_BP.gather(1, high_B1)[:, 0]
        return torch.where(low_B == high_B, low_B, torch.lerp(low_B, high_B, place_B.frac()))

    def _limit(self, view: View) -> float | Tensor:
        if not isinstance(self.threshold, Schedule) or self.threshold.over == "filled":
            return value_at(self.threshold, view)
        planned_B = view.planned_steps_B
        if planned_B is None:
            raise StrategyError(
                "the exit's threshold runs over steps, but their number is not fixed",
                hint="write `over: filled`",
            )
        first = 0 if self.stretched else 1
        share_B = (view.taken + first) / (planned_B.double() - 1 + first).clamp_min(1.0)
        return self.threshold.at(share_B.clamp_max(1.0).float())[:, None]


@attrs.frozen
class Settled(EarlyExit):
    """Exit a row once its most probable tokens stay what they were a step ago.

    Looked at are masked positions; in a row's first step everything counts as changed.
    Source: the stability gate in the code of SchED (arXiv:2512.02892), not in its paper; there
    `intersect` with `gap`.
    """

    name = "settled"
    span = "region"
    history = True
    state = (StateField("token_BN", "int64", -1), StateField("calm_B", "int64", 0, "B"))

    change: float = option(0.0, doc="largest share of changed tokens", check=_SHARE)
    patience: int = option(0, doc="further steps for which this must hold", check=at_least(0))
    progress: float = option(0.0, doc="smallest share decided before", check=_SHARE)
    count_prompt: bool = option(False, doc="count the prompt as decided, as the code does")
    start: int = option(0, doc=_START, check=at_least(0))
    length: int | None = option(None, doc=_LENGTH, check=at_least(1))
    scope: Literal["block", "canvas"] = option("canvas", doc=_SCOPE)

    def anchored(self) -> bool:
        """Where a part of the region is named."""
        return self.start > 0 or self.length is not None

    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit:
        """Rows that have been calm for long enough."""
        return Exit(self._calm(prediction, view) > self.patience, self.scope)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The most probable tokens, and for how many steps they have hardly changed."""
        view, best_BP = outcome.view, outcome.prediction.pack.top_ids_BPK[..., 0]
        token_BN = write(view.recall(self)["token_BN"], best_BP, view.inside_BP, view)
        return {"token_BN": token_BN, "calm_B": self._calm(outcome.prediction, view)}

    def _calm(self, prediction: Prediction, view: View) -> Tensor:
        """Steps in a row, with this one, that changed little, `calm_B` int64."""
        memory = view.recall(self)
        where_BP = _looked_at(view, self.start, self.length, self.scope) & view.masked_BP
        changed_BP = prediction.pack.top_ids_BPK[..., 0] != read(memory["token_BN"], view)
        share_B = (changed_BP & where_BP).sum(dim=1) / where_BP.sum(dim=1).clamp_min(1)
        # In float64, so that a float32 share of one tenth exceeds 0.1, as in the code.
        calm_B = (share_B.double() <= self.change) & (self._decided(view) >= self.progress)
        return (memory["calm_B"] + 1) * calm_B

    def _decided(self, view: View) -> Tensor:
        if not self.count_prompt:
            return view.progress_B
        left_B = view.canvas.masked_BN.sum(dim=1)
        return 1.0 - left_B / view.canvas.length_B


def _looked_at(view: View, start: int, length: int | None, scope: str) -> Tensor:
    """Positions of the stated span, only those of the block where that is the scope, bool."""
    offset_BP = view.positions_BP - view.canvas.start_B[:, None]
    where_BP = (offset_BP >= start) & view.inside_BP
    if length is not None:
        where_BP = where_BP & (offset_BP < start + length)
    return where_BP & view.in_block_BP if scope == "block" else where_BP
