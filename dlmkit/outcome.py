"""What one step decided, as strategies with a memory see it.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from functools import cached_property

import attrs
from torch import Tensor

from dlmkit.prediction import Prediction
from dlmkit.view import View

__all__ = ["Outcome"]


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Outcome:
    """One finished step: the view it started from, its prediction, and what was done with it.

    `before_BN` and `after_BN` are the canvas around the step.
    """

    view: View
    prediction: Prediction
    proposals_BP: Tensor
    confidence_BP: Tensor
    commit_BP: Tensor
    before_BN: Tensor
    after_BN: Tensor

    @classmethod
    def of(cls, view: View, commit_BP: Tensor, before_BN: Tensor, after_BN: Tensor) -> Outcome:
        """The outcome of a step whose view knows its proposals."""
        proposal = view.proposal
        return cls(
            view=view,
            prediction=proposal.prediction,
            proposals_BP=proposal.tokens_BP,
            confidence_BP=proposal.confidence_BP,
            commit_BP=commit_BP,
            before_BN=before_BN,
            after_BN=after_BN,
        )

    @cached_property
    def reopened_BN(self) -> Tensor:
        """Positions that were decided before the step and are masks after it."""
        mask = self.view.canvas.mask_id
        return (self.before_BN != mask) & (self.after_BN == mask)
