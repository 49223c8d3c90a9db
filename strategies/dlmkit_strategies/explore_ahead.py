"""Exploration with branches: a stalled row tries several pivots in one pass and keeps the best.

Legend: B rows, N canvas positions, P window positions, K choices, R tried canvases of all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.loop.memory import Memory
from dlmkit.loop.tracking import Tracker
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.prediction import Prediction
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.branching import Branching, best_of, picked, rows_of, with_choice
from dlmkit_strategies.exploration import Explore
from dlmkit_strategies.kernels import rank

__all__ = ["ExploreAhead"]


@attrs.frozen(eq=False)
class _Choices:
    """What each row tries: `ids_KBN`, where `rows_KB`, and the log-probability of its pivot."""

    ids_KBN: Tensor
    rows_KB: Tensor
    logp_KB: Tensor


@attrs.frozen(kw_only=True)
class ExploreAhead(Branching):
    """Commit what is sure; a row with little of that tries several pivots, and keeps the best.

    A pivot is an uncertain position as `explore` chooses it, committed to its proposal.  The
    canvases of all pivots run as rows of one pass; the best one has the largest log p(pivot) +
    weight x (sure positions after it), ties to the more uncertain pivot, and its predictions are
    those of the step.  A single pivot is committed without a trial.  Only stalled rows branch.
    Source: ETE-style, a reconstruction from the abstract of arXiv:2511.21103, which has no public
    code: K branches and lambda; theta, q and rho are those of `explore`.
    """

    name = "explore-ahead"

    transfer: TransferRule = option(Explore(), doc="what is sure, stalled, and a pivot: `explore`")
    branches: int = option(4, doc="pivots that are tried at once (K)", check=at_least(1))
    weight: float = option(
        1.0, doc="nats that a further sure position is worth (lambda)", check=at_least(0)
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse a rule that has no pivots."""
        if not isinstance(options["transfer"], Explore):
            yield "transfer", "must be `explore`, which has pivots to try", "use it, or `denoise`"

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""
        session = context.session(self.model)
        memory = Memory(self, canvas, session.info.vocab_size)
        tracker = Tracker(
            canvas, session.info, context.seed, self.blocks, self.transfer, True, reopens=False
        )
        alone_KB = torch.ones_like(canvas.done_B)[None]
        choices = _Choices(canvas.tokens_BN[None], alone_KB, torch.zeros_like(alone_KB).float())
        for step in count():
            view = tracker.next(step, memory.values)
            if view is None:
                return
            before_BN = canvas.tokens_BN
            predictions = self._predict(session, canvas, choices, view)
            best_B = self._best(choices, predictions, view)
            rated = self._enter(picked(list(choices.ids_KBN), best_B), canvas, view)
            rated = self.rated(best_of(predictions, best_B), rated)
            choices = self._commit(rated, canvas)
            self.end(view, canvas)
            outcome = Outcome.of(
                view.proposing(rated.proposal),
                (before_BN != canvas.tokens_BN).gather(1, view.positions_BP),
                before_BN,
                canvas.tokens_BN,
            )
            memory.advance(outcome)
            yield StepRecord.of(outcome, self.model, session.counts)

    @property
    def _rule(self) -> Explore:
        assert isinstance(self.transfer, Explore)  # noqa: S101 - see `check_options`
        return self.transfer

    def _predict(
        self, session: Session, canvas: Canvas, choices: _Choices, view: View
    ) -> list[Prediction]:
        """One pass over all choices; a row that does not try one has the first one's prediction."""
        rows_KB = choices.rows_KB
        owner_R, ids_RN = rows_KB.nonzero()[:, 1], choices.ids_KBN[rows_KB]
        (whole,) = session.predict(
            [ids_RN],
            canvas.of_rows(owner_R, ids_RN),
            view.positions_BP[owner_R],
            Plan.full(ids_RN),
            self.need(),
        )
        number_KB = rows_KB.flatten().cumsum(dim=0).view_as(rows_KB) - 1
        return [rows_of(whole, each) for each in torch.where(rows_KB, number_KB, number_KB[0])]

    def _best(self, choices: _Choices, predictions: list[Prediction], view: View) -> Tensor:
        """The number of each row's best choice, ties to the first, `best_B` int64."""
        values = []
        for ids_BN, prediction in zip(choices.ids_KBN, predictions, strict=True):
            canvas = view.canvas.snapshot()
            canvas.tokens_BN = ids_BN
            rated = self.rated(prediction, view.after(canvas))
            values.append(self._rule.sure(rated.proposal.confidence_BP, rated).sum(dim=1))
        value_KB = choices.logp_KB + self.weight * torch.stack(values)
        return value_KB.masked_fill(~choices.rows_KB, -torch.inf).argmax(dim=0)

    def _enter(self, ids_BN: Tensor, canvas: Canvas, view: View) -> View:
        """Commit the chosen pivots; the view after that."""
        columns_BN = canvas.columns_N.expand_as(ids_BN)
        canvas.commit(columns_BN, ids_BN != canvas.tokens_BN, ids_BN, view.step)
        return view.after(canvas)

    def _commit(self, view: View, canvas: Canvas) -> _Choices:
        """Commit what needs no trial; return the choices of the next pass."""
        rule, proposal = self._rule, view.proposal
        sure_BP = rule.sure(proposal.confidence_BP, view)
        pivots_BP = rule.pivots(proposal.confidence_BP, view, self.branches)
        branching_B = rule.stalled(sure_BP) & (pivots_BP.sum(dim=1) > 1)
        at_once_BP = rule.select(proposal.confidence_BP, view)
        commit_BP = torch.where(branching_B[:, None], sure_BP, at_once_BP)
        canvas.commit(view.positions_BP, commit_BP, proposal.tokens_BP, view.step)
        return _trials(pivots_BP & branching_B[:, None], view, view.after(canvas))


def _trials(pivots_BP: Tensor, view: View, after: View) -> _Choices:
    """One choice for each pivot, the most uncertain first; the canvas itself without pivots."""
    proposal = view.proposal
    entropy_BP = proposal.prediction.pack.entropy_BP
    assert entropy_BP is not None  # noqa: S101 - declared in `need`
    order_BP = rank(entropy_BP, pivots_BP)
    most = max(1, int(pivots_BP.sum(dim=1).amax()))
    pivot_KBP = pivots_BP & (order_BP == torch.arange(most, device=order_BP.device)[:, None, None])
    ids = [with_choice(each_BP, proposal.tokens_BP, after) for each_BP in pivot_KBP]
    rows_KB = pivot_KBP.any(dim=-1)
    rows_KB[0] = True
    logp_BP = proposal.prediction.logp_of(proposal.tokens_BP)
    logp_KB = torch.where(pivot_KBP, logp_BP, 0.0).sum(dim=-1)
    return _Choices(torch.stack(ids), rows_KB, logp_KB)
