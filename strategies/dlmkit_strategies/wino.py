"""WINO: commit widely, then take back what the rest of the text does not bear out.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import CommitGuard, Reviser, Revision
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import decided_here

__all__ = ["AtMostShare", "Unsupported"]


@attrs.frozen
class AtMostShare(CommitGuard):
    """Keep the most confident of the selected positions, at most a share of the block's masks.

    The share is rounded down and kept between `least` and `most`.
    Source: WINO (arXiv:2507.18578), whose code has 0.7, 5 and 20.
    """

    name = "at-most-share"
    drops = True

    share: float = option(0.7, doc="share of the masks", check=(above(0), at_most(1)))
    least: int = option(5, doc="smallest bound", check=at_least(1))
    most: int = option(20, doc="largest bound", check=at_least(1))

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Drop the least confident positions."""
        masks_B1 = (view.masked_BP & view.in_block_BP).sum(dim=1, keepdim=True)
        bound_B1 = (masks_B1 * self.share).long().clamp(self.least, self.most)
        return top_n(confidence_BP, commit_BP, bound_B1)


@attrs.frozen
class Unsupported(Reviser):
    """Reopen earlier tokens of the block that are improbable given everything else.

    Each is read from a shadow: a query that sees all but the token.  Nothing is reopened in a step
    that decides a single position, and always less than the step before decided (in the first
    step of a block: less than `first`), the least probable ones, so that a block ends.
    Source: WINO (arXiv:2507.18578), tau_2; its paper has 0.9.
    """

    name = "unsupported"
    need = Need(shadow=True)
    reopens = True
    history = True
    state: ClassVar[tuple[StateField, ...]] = (StateField("decided", "int64", 0, dims="B"),)

    threshold: float = option(
        0.9,
        doc="smallest probability of a token that stays (tau_2)",
        check=(at_least(0), at_most(1)),
    )
    first: int = option(30, doc="bound in a block's first step, exclusive", check=at_least(1))

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """The tokens decided before this step, the least probable first."""
        step_BP = decided_here(view)
        earlier_BP = (step_BP >= 0) & (step_BP < view.step) & view.in_block_BP
        probability_BP = self._probability(prediction, view)
        several_B1 = (step_BP == view.step).sum(dim=1, keepdim=True) > 1
        doubtful_BP = (probability_BP < self.threshold) & earlier_BP & several_B1
        before_B = view.recall(self)["decided"].masked_fill(view.block_step_B == 0, self.first)
        where_BP = top_n(-probability_BP, doubtful_BP, before_B[:, None] - 1)
        return Revision(where_BP, torch.full_like(view.tokens_BP, view.canvas.mask_id))

    def _probability(self, prediction: Prediction, view: View) -> Tensor:
        shadow = prediction.shadow
        assert shadow is not None  # noqa: S101 - declared in `need`
        assert shadow.pack.current_logp_BP is not None  # noqa: S101 - shadows always have it
        return shadow.pack.current_logp_BP.exp()

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """How many positions this step decided."""
        return {"decided": outcome.commit_BP.sum(dim=1)}
