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
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import read, write

__all__ = ["SteadyAndSure"]

_SMALLEST = log(1e-12)
"""Probabilities count as at least 1e-12; the published code adds as much to each."""


@attrs.frozen
class SteadyAndSure(TransferRule):
    """Positions that are sure and whose distribution has hardly moved for several steps.

    Moved: KL(now || one step ago) in nats; it must stay under `kl` for `history` steps, all of
    them in the current block.  Where a row has no such position, another rule decides.  Keeps the
    last distribution of every position, 4 V bytes for each, and goes through the vocabulary once.
    Source: KLASS (arXiv:2511.05664), tau_c, tau_KL and h, both comparisons strict.
    """

    name = "steady-and-sure"
    reads = frozenset({"probability"})
    need = Need(logits=True)
    span = "region"
    history = True
    state = (
        StateField("log_BNV", "float32", _SMALLEST, "BNV"),
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
        _, change_BP = self._compared(view)
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
        log_BPV, change_BP = self._compared(view)
        steady_BP = self._count(change_BP, view)
        return {
            "log_BNV": write(old["log_BNV"], log_BPV, view.inside_BP, view),
            "steady_BN": write(old["steady_BN"], steady_BP, view.inside_BP, view),
        }

    def _compared(self, view: View) -> tuple[Tensor, Tensor]:
        """Log-probabilities and their KL divergence from the step before, worked out once."""
        return view.proposal.once(self, lambda: self._compare(view))

    def _compare(self, view: View) -> tuple[Tensor, Tensor]:
        """As above; the divergence is large where there was no step before."""
        prediction = view.proposal.prediction
        assert prediction.logits_BPV is not None  # noqa: S101 - declared in `need`
        # Four passes over the vocabulary; log-probabilities leave out the logarithm.
        lse_BP1 = prediction.pack.lse_BP[..., None].float()
        log_BPV = (prediction.logits_BPV.float() - lse_BP1).clamp_min_(_SMALLEST)
        moved_BPV = read(view.recall(self)["log_BNV"], view).sub_(log_BPV).neg_()
        return log_BPV, torch.einsum("bpv,bpv->bp", log_BPV.exp(), moved_BPV)

    def _count(self, change_BP: Tensor, view: View) -> Tensor:
        """Steps in a row, with this one, in which the change stayed under the bound."""
        return (read(view.recall(self)["steady_BN"], view) + 1) * (change_BP < self.kl)
