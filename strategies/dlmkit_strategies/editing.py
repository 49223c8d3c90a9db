"""Editing: tokens that were decided earlier are replaced by better ones.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import Reviser, Revision
from dlmkit.view import View
from dlmkit_strategies.positions import decided_here

__all__ = ["TokenEdit"]


@attrs.frozen
class TokenEdit(Reviser):
    """Replace a decided token of the block where another one is proposed with confidence.

    Masks are filled by the same pass.  A full block is looked at again until a pass changes
    nothing, a number of times at most.  Models must be trained for it.
    Source: LLaDA2.1 (arXiv:2602.08676), T2T edits: `editing_threshold`, `max_post_steps`.
    """

    name = "token-edit"
    need = Need(top=2)
    sees = "before"
    rewrites = True
    state: ClassVar[tuple[StateField, ...]] = (StateField("passes", "int64", 0, dims="B"),)

    threshold: float = option(
        0.9,
        doc="probability that a replacement must exceed; 1 or more: no edits",
        check=at_least(0),
    )
    passes: int = option(16, doc="passes over a full block, at most", check=at_least(0))

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """Sure replacements; once more after a pass that filled or replaced something."""
        tokens_BP = view.proposal.tokens_BP
        sure_BP = prediction.logp_of(tokens_BP).exp() > self.threshold
        where_BP = sure_BP & (tokens_BP != view.tokens_BP)
        where_BP = where_BP & (decided_here(view) >= 0) & view.in_block_BP
        busy_B = view.eligible_BP.any(dim=1) | where_BP.any(dim=1)
        return Revision(where_BP, tokens_BP, busy_B & (self._passes_B(view) < self.passes))

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """Passes over the block since it was full."""
        return {"passes": self._passes_B(outcome.view)}

    def _passes_B(self, view: View) -> Tensor:
        """The same, this one included; 0 while something is masked."""
        before_B = view.recall(self)["passes"]
        return (before_B + 1) * ~view.eligible_BP.any(dim=1)
