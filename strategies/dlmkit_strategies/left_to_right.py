"""Preference for what comes first: a score that falls with distance, a run, a first token.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import ConfidenceScorer, ScoreSpace, TransferRule
from dlmkit.schedules import Schedule, value_at
from dlmkit.view import View

__all__ = ["FirstAlone", "LeadingRun", "Nearer"]


@attrs.frozen
class Nearer(ConfidenceScorer):
    """Another score, less the further a position is from the first undecided one.

    With d that distance in positions, the result is score - penalty x d.
    Source: the distance penalty lambda of WeDLM (arXiv:2512.22737), there on the entropy.
    """

    name = "nearer"

    of: ConfidenceScorer = option(doc="the score that is lowered")
    penalty: float = option(
        0.02,
        doc="what each position of distance costs, in the unit of the score",
        check=at_least(0),
    )

    def needs(self) -> Need:
        """What the other score needs."""
        return self.of.needs()

    def score_space(self) -> ScoreSpace:
        """The unit of the other score, unless that has a range which the penalty leaves."""
        space = self.of.score_space()
        return "unbounded" if space == "probability" else space

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """The other score minus penalty x distance."""
        score_BP = self.of.score(tokens_BP, prediction, view)
        beyond = view.tokens_BN.shape[1]
        first_B1 = torch.where(view.eligible_BP, view.positions_BP, beyond).amin(1, keepdim=True)
        distance_BP = (view.positions_BP - first_B1).clamp_min(0)
        return score_BP - self.penalty * distance_BP.to(score_BP.dtype)


@attrs.frozen
class LeadingRun(TransferRule):
    """The first undecided position, and those after it up to the first that is not sure.

    Source: lexical unit decoding (arXiv:2405.15208), whose placeholders are masks here.
    """

    name = "leading-run"
    reads = frozenset({"probability"})

    threshold: float | Schedule = option(
        0.9, doc="smallest probability that continues the run", check=(at_least(0), at_most(1))
    )

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Eligible positions with no unsure one before or at them, and the first."""
        unsure_BP = view.eligible_BP & ~(confidence_BP >= value_at(self.threshold, view))
        first_BP = view.eligible_BP.cumsum(dim=1) == 1
        run_BP = (unsure_BP & ~first_BP).cumsum(dim=1) == 0
        return run_BP & view.eligible_BP


@attrs.frozen
class FirstAlone(TransferRule):
    """The first position of a block in a row's first step there, then what another rule selects.

    However unsure it is; a row whose block begins with a token follows the other rule at once.
    Source: Fast-dLLM (arXiv:2505.22618), Dream with a cache, as published.
    """

    name = "first-alone"

    of: TransferRule = option(doc="the rule of all later steps")

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """One position in rows that enter a block."""
        first_BP = (view.positions_BP == view.block.start_B[:, None]) & view.eligible_BP
        entering_B1 = (view.block_step_B == 0)[:, None] & first_BP.any(dim=1, keepdim=True)
        return torch.where(entering_B1, first_BP, self.of.select(confidence_BP, view))

    @property
    def may_wait(self) -> bool:  # type: ignore[override] # here it depends on the other rule
        """Whether the other rule may."""
        return self.of.may_wait

    def steps_per_block(self, width: int) -> int | None:
        """Those of a rule that may wait, which decides everything by then; else not fixed."""
        return self.of.steps_per_block(width) if self.may_wait else None

    def score_spaces(self) -> frozenset[ScoreSpace]:
        """Those of the other rule."""
        return self.of.score_spaces()
