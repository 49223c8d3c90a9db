"""Logits that remember which tokens were favoured before: CreditDecoding.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import StateField, option
from dlmkit.outcome import Outcome
from dlmkit.roles import LogitsTransform
from dlmkit.view import View
from dlmkit_strategies.positions import read, write

__all__ = ["Credit"]


@attrs.frozen
class Credit(LogitsTransform):
    """Raise the logits of tokens that were the best choice in earlier steps.

    A credit for each masked position and token decays by beta in each step; the best token earns
    its probability to the power gamma; alpha log(1 + credit) is added to the logits.  Keeps 4 V
    bytes for each position.  The favourite is read before any transform of the pipeline, so
    list this one first.  Source: CreditDecoding (arXiv:2510.06133), alpha, beta and gamma.
    """

    name = "credit"
    history = True
    state = (StateField("credit_BNV", "float32", 0.0, "BNV"),)

    alpha: float = option(0.7, doc="weight of the credit; 0 changes nothing", check=at_least(0))
    beta: float = option(
        0.8, doc="what is left of a credit a step later", check=(at_least(0), at_most(1))
    )
    gamma: float = option(0.2, doc="exponent of the probability that is earned", check=above(0))

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Add the logarithm of the credit, this step's included."""
        return logits_BPV + self.alpha * self._earned(logits_BPV, view).log1p()

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The credit with what this step earned."""
        view = outcome.view
        logits_BPV = outcome.prediction.unedited.logits_BPV
        assert logits_BPV is not None  # noqa: S101 - declared in `need`
        earned_BPV = self._earned(logits_BPV, view)
        old_BNV = view.recall(self)["credit_BNV"]
        return {"credit_BNV": write(old_BNV, earned_BPV, view.inside_BP, view)}

    def _earned(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Old credit, decayed, and that of the best token where the position is masked."""
        credit_BPV = self.beta * read(view.recall(self)["credit_BNV"], view)
        share_BP1, best_BP1 = logits_BPV.float().softmax(dim=-1).max(dim=-1, keepdim=True)
        gain_BP1 = share_BP1.pow(self.gamma) * view.masked_BP[..., None]
        return credit_BPV.scatter_add(-1, best_BP1, gain_BP1)
