"""Decide what is sure and has stopped changing: KLASS.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import read, write

__all__ = ["SteadyAndSure"]

_TINY = 1e-12


@attrs.frozen
class SteadyAndSure(TransferRule):
    """Positions that are sure and whose distribution has hardly moved for several steps.

    Moved: KL(now || one step ago) in nats; it must stay under `kl` for `history` steps, all of
    them in the current block.  Where a row has no such position, another rule decides.  Keeps the
    last distribution of every position: 4 V bytes for each.
    Source: KLASS (arXiv:2511.05664), tau_c, tau_KL and h, both comparisons strict.
    """

    name = "steady-and-sure"
    reads = frozenset({"probability"})
    need = Need(logits=True)
    span = "region"
    history = True
    state = (
        StateField("log_BNV", "float32", log(_TINY), "BNV"),
        StateField("steady_BN", "int64", 0),
    )

    otherwise: TransferRule = option(doc="rule for rows without such a position")
    threshold: float = option(
        0.9, doc="probability that must be exceeded", check=(at_least(0), at_most(1))
    )
    kl: float = option(0.01, doc="bound on the change, in nats", check=above(0))
    past: int = option(2, doc="steps for which it holds", check=at_least(1), key="history")
    pick: Literal["all", "surest", "steadiest"] = option(
        "all", doc="which of these positions are committed"
    )

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Steady and sure positions, or what the other rule selects."""
        change_BP = self._change(view.proposal.prediction, view)
        lasting_BP = self._count(change_BP, view) >= self.past
        late_B1 = view.block_step_B[:, None] + 1 >= self.past
        ready_BP = lasting_BP & late_B1 & (confidence_BP > self.threshold) & view.eligible_BP
        if self.pick != "all":
            order_BP = confidence_BP if self.pick == "surest" else -change_BP.to(torch.float64)
            ready_BP = top_n(order_BP, ready_BP, 1)
        none_B1 = ~ready_BP.any(dim=1, keepdim=True)
        return ready_BP | (none_B1 & self.otherwise.select(confidence_BP, view))

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The distributions of this step, and for how long each has been steady."""
        view, old = outcome.view, outcome.view.recall(self)
        steady_BP = self._count(self._change(outcome.prediction, view), view)
        log_BPV = _shares(outcome.prediction).add_(_TINY).log_()
        return {
            "log_BNV": write(old["log_BNV"], log_BPV, view.inside_BP, view),
            "steady_BN": write(old["steady_BN"], steady_BP, view.inside_BP, view),
        }

    def _change(self, prediction: Prediction, view: View) -> Tensor:
        """KL divergence from the step before, in nats; large where there was none."""
        now_BPV = _shares(prediction)
        ratio_BPV = (now_BPV + _TINY).log_().sub_(read(view.recall(self)["log_BNV"], view))
        return ratio_BPV.mul_(now_BPV).sum(dim=-1)

    def _count(self, change_BP: Tensor, view: View) -> Tensor:
        """Steps in a row, with this one, in which the change stayed under the bound."""
        return (read(view.recall(self)["steady_BN"], view) + 1) * (change_BP < self.kl)


def _shares(prediction: Prediction) -> Tensor:
    assert prediction.logits_BPV is not None  # noqa: S101 - declared in `need`
    return prediction.logits_BPV.float().softmax(dim=-1)
