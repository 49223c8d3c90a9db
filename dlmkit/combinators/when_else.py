"""`when` for slots that hold exactly one strategy: a condition, and what applies otherwise.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from torch import Tensor

from dlmkit.combinators.condition import OTHERWISE, THEN, Conditional
from dlmkit.component import option
from dlmkit.roles import ConfidenceScorer, ScoreSpace, TokenSampler, TransferRule

if TYPE_CHECKING:
    from dlmkit.prediction import Prediction
    from dlmkit.view import View

__all__ = ["WhenConfidence", "WhenSample", "WhenTransfer"]


@attrs.frozen(kw_only=True)
class WhenTransfer(Conditional, TransferRule):
    """One rule where a condition holds, another everywhere else."""

    then: TransferRule = option(doc=THEN)
    otherwise: TransferRule = option(doc=OTHERWISE)

    @property
    def may_wait(self) -> bool:  # type: ignore[override] # here it depends on the members
        """It waits where one of them may."""
        return self.then.may_wait or self.otherwise.may_wait

    def steps_per_block(self, width: int) -> int | None:
        """Their common number; where one may wait, a bound that no mixture exceeds."""
        both = (self.then.steps_per_block(width), self.otherwise.steps_per_block(width))
        if self.may_wait:
            return sum(width if steps is None else steps for steps in both)
        return both[0] if both[0] == both[1] else None

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Each row's own rule."""
        then_BP = self.then.select(confidence_BP, view)
        return self.choose(then_BP, self.otherwise.select(confidence_BP, view), view)


@attrs.frozen(kw_only=True)
class WhenSample(Conditional, TokenSampler):
    """One sampler where a condition holds, another everywhere else."""

    then: TokenSampler = option(doc=THEN)
    otherwise: TokenSampler = option(doc=OTHERWISE)

    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """Each row's own proposals."""
        then_BP = self.then.propose(prediction, view)
        return self.choose(then_BP, self.otherwise.propose(prediction, view), view)


@attrs.frozen(kw_only=True)
class WhenConfidence(Conditional, ConfidenceScorer):
    """One score where a condition holds, another everywhere else."""

    then: ConfidenceScorer = option(doc=THEN)
    otherwise: ConfidenceScorer = option(doc=OTHERWISE)

    def score_space(self) -> ScoreSpace:
        """Their common unit, if they have one."""
        spaces = {self.then.score_space(), self.otherwise.score_space()}
        return spaces.pop() if len(spaces) == 1 else "unbounded"

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Each row's own score."""
        then_BP = self.then.score(tokens_BP, prediction, view)
        otherwise_BP = self.otherwise.score(tokens_BP, prediction, view)
        return self.choose(then_BP, otherwise_BP, view)
