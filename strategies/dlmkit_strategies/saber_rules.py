"""Saber: commit above the running mean, then take back what lost confidence.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import Reviser, Revision, TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import decided_here, read, write

__all__ = ["AboveMean", "Backtrack"]


@attrs.frozen
class AboveMean(TransferRule):
    """Positions surer than tokens were, on average, when they were decided; at least the best n.

    Tokens taken back later stay in the average until their position is decided again, or for
    good with `first`.  Before anything is decided the bar is 1.
    Source: Saber (arXiv:2510.18165), tau and n; `first` as in its code for Dream.
    """

    name = "above-mean"
    reads = frozenset({"probability"})
    history = True
    state = (
        StateField("confidence_BN", "float32", 0.0, keep=True),
        StateField("counted_BN", "bool", 0, keep=True),
    )

    least: int = option(2, doc="fewest commits in each step (n)", check=at_least(1))
    first: bool = option(False, doc="count only the first decision of a position")

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """What exceeds the mean, or the best n."""
        memory = view.recall(self)
        counted_BN = memory["counted_BN"]
        count_B = counted_BN.sum(dim=1)
        sum_B = (memory["confidence_BN"] * counted_BN).sum(dim=1)
        mean_B = torch.where(count_B > 0, sum_B / count_B.clamp_min(1), 1.0)
        sure_BP = (confidence_BP > mean_B[:, None]) & view.eligible_BP
        few_B1 = sure_BP.sum(dim=1, keepdim=True) < self.least
        return torch.where(few_B1, top_n(confidence_BP, view.eligible_BP, self.least), sure_BP)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """Confidences at the last, or first, decision."""
        view, memory = outcome.view, outcome.view.recall(self)
        new_BP = outcome.commit_BP
        if self.first:
            new_BP = new_BP & ~read(memory["counted_BN"], view)
        confidence_BN = write(memory["confidence_BN"], outcome.confidence_BP, new_BP, view)
        counted_BN = write(memory["counted_BN"], new_BP, new_BP, view)
        return {"confidence_BN": confidence_BN, "counted_BN": counted_BN}


@attrs.frozen
class Backtrack(Reviser):
    """Reopen the decided positions that lost most confidence, while masks are left in the block.

    With d commits in this step, min(max(n div 2, d / divisor), d - 1) are reopened, so every step
    makes progress.  `drop` compares the largest probability with that of a step ago;
    `probability` takes the token that stands there.
    Source: Saber (arXiv:2510.18165), mu, rounded down; its code rounds up, takes `drop` for LLaDA
    and `probability` for Dream.
    """

    name = "backtrack"
    need = Need(top=2, current=True)
    span = "region"
    reopens = True
    history = True
    state = (StateField("best_BN", "float32", 0.0, keep=True),)

    by: Literal["drop", "probability"] = option("drop", doc="what is compared")
    least: int = option(2, doc="fewest commits of the transfer rule (n)", check=at_least(1))
    divisor: float = option(8.0, doc="commits for each reopened position (mu)", check=above(1))
    rounding: Literal["up", "down"] = option("up", doc="how a part of a position counts")

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """The positions with the smallest score."""
        step_BP = decided_here(view)
        fresh_BP = step_BP == view.step
        commits_B = fresh_BP.sum(dim=1)
        share_B = commits_B / self.divisor
        whole_B = share_B.ceil() if self.rounding == "up" else share_B.floor()
        wanted_B = whole_B.long().clamp_min(self.least // 2)
        count_B = torch.minimum(wanted_B, commits_B - 1)
        unfinished_B = (view.masked_BP & view.in_block_BP).any(dim=1)
        count_B = count_B.clamp_min(0) * unfinished_B
        score_BP = self._score(prediction, fresh_BP, view)
        where_BP = top_n(-score_BP, (step_BP >= 0) & view.in_block_BP, count_B[:, None])
        return Revision(where_BP, torch.full_like(view.tokens_BP, view.canvas.mask_id))

    def _score(self, prediction: Prediction, fresh_BP: Tensor, view: View) -> Tensor:
        if self.by == "drop":
            return _best(prediction) - read(view.recall(self)["best_BN"], view)
        current_BP = prediction.pack.current_logp_BP
        assert current_BP is not None  # noqa: S101 - declared in `need`
        return torch.where(fresh_BP, prediction.logp_of(view.tokens_BP), current_BP)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The largest probabilities; minus infinity on blocks that are still to come."""
        view = outcome.view
        best_BP = _best(outcome.prediction).masked_fill(~view.in_block_BP, -torch.inf)
        return {"best_BN": write(view.recall(self)["best_BN"], best_BP, view.inside_BP, view)}


def _best(prediction: Prediction) -> Tensor:
    return prediction.pack.top_logp_BPK[..., 0].exp()
