"""What a step's forward pass proposes, before anything is decided.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import torch
from torch import Tensor

from dlmkit.prediction import Prediction

if TYPE_CHECKING:
    from dlmkit.roles import ConfidenceScorer, TokenSampler
    from dlmkit.view import View

__all__ = ["Proposal"]

Value = TypeVar("Value")


@attrs.frozen(kw_only=True, eq=False)
class Proposal:
    """The prediction of a pass, the proposed `tokens_BP` int64, and their `confidence_BP`.

    Confidence is minus infinity where a position is not eligible.
    """

    prediction: Prediction
    tokens_BP: Tensor
    confidence_BP: Tensor
    _worked_out: dict[int, Any] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, prediction: Prediction, view: View, sample: TokenSampler, confidence: ConfidenceScorer
    ) -> Proposal:
        """Propose a token for each position and rate it."""
        tokens_BP = sample.propose(prediction, view)
        confidence_BP = confidence.score(tokens_BP, prediction, view)
        confidence_BP = torch.where(view.eligible_BP, confidence_BP, -torch.inf)
        return cls(prediction=prediction, tokens_BP=tokens_BP, confidence_BP=confidence_BP)

    def once(self, owner: object, work: Callable[[], Value]) -> Value:
        """What `work` returns, done once in a step: `advance` gets what was done to decide.

        `owner` is the strategy that asks; it has one such value.
        """
        if id(owner) not in self._worked_out:
            self._worked_out[id(owner)] = work()
        value: Value = self._worked_out[id(owner)]
        return value
