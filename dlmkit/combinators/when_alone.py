"""`when` for slots that hold a list: where the condition does not hold, nothing happens.

There is no `otherwise`; a second entry in the list with the opposite condition says the same.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.combinators.condition import THEN, Conditional
from dlmkit.component import option
from dlmkit.roles import (
    CommitGuard,
    EarlyExit,
    Exit,
    InputTransform,
    LogitsTransform,
    Mixture,
    Reviser,
    Revision,
    StopRule,
)

if TYPE_CHECKING:
    from dlmkit.prediction import Prediction
    from dlmkit.view import View

__all__ = ["WhenExit", "WhenGuard", "WhenInputs", "WhenLogits", "WhenRevise", "WhenStop"]


@attrs.frozen(kw_only=True)
class WhenInputs(Conditional, InputTransform):
    """Change the input only where a condition holds."""

    then: InputTransform = option(doc=THEN)

    def apply(self, ids_BN: Tensor, view: View) -> Tensor:
        """The changed rows, and the others as they are."""
        return self.choose(self.then.apply(ids_BN, view), ids_BN, view)

    def mix(self, view: View) -> Mixture | None:
        """The member's mixture in those rows, and nothing in the others."""
        mixture = self.then.mix(view)
        if mixture is None:
            return None
        weights_BNK = mixture.weights_BNK
        return Mixture(
            mixture.ids_BNK, self.choose(weights_BNK, torch.zeros_like(weights_BNK), view)
        )


@attrs.frozen(kw_only=True)
class WhenLogits(Conditional, LogitsTransform):
    """Edit the distribution only where a condition holds."""

    then: LogitsTransform = option(doc=THEN)

    @property
    def stage(self) -> Literal["score", "sampling"]:  # type: ignore[override] # the member's own
        """The member's stage."""
        return self.then.stage

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """The edited rows, and the others as they are."""
        return self.choose(self.then.edit(logits_BPV, view), logits_BPV, view)


@attrs.frozen(kw_only=True)
class WhenGuard(Conditional, CommitGuard):
    """Guard the selection only where a condition holds."""

    then: CommitGuard = option(doc=THEN)

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """The guarded rows, and the others as they are."""
        return self.choose(self.then.guard(commit_BP, confidence_BP, view), commit_BP, view)


@attrs.frozen(kw_only=True)
class WhenExit(Conditional, EarlyExit):
    """Exit only where a condition holds."""

    then: EarlyExit = option(doc=THEN)

    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit | None:
        """The member's verdict in the rows where the condition holds."""
        verdict = self.then.decide(prediction, confidence_BP, view)
        if verdict is None:
            return None
        return attrs.evolve(verdict, rows_B=verdict.rows_B & self.condition.holds_B(view))


@attrs.frozen(kw_only=True)
class WhenRevise(Conditional, Reviser):
    """Revise only where a condition holds."""

    then: Reviser = option(doc=THEN)

    @property
    def sees(self) -> Literal["before", "after"]:  # type: ignore[override] # the member's own
        """What the member sees."""
        return self.then.sees

    def revise(self, prediction: Prediction, view: View) -> Revision | None:
        """The member's revision in the rows where the condition holds."""
        revision = self.then.revise(prediction, view)
        if revision is None:
            return None
        holds_B1 = self.condition.holds_B(view)[:, None]
        return attrs.evolve(revision, where_BP=revision.where_BP & holds_B1)


@attrs.frozen(kw_only=True)
class WhenStop(Conditional, StopRule):
    """Stop rows only where a condition holds."""

    then: StopRule = option(doc=THEN)

    def stop(self, view: View) -> Tensor:
        """The member's rows where the condition holds."""
        return self.then.stop(view) & self.condition.holds_B(view)
