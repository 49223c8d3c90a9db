"""The decode loop: one forward pass, one decision, one record, until nothing is masked.

The order inside a step is that of the unmasking literature read together: predict, propose,
score, exit, select, guard, apply, revise, stop, remember, resize.  Printing, timing and storing
are for whoever consumes the records.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.canvas import Canvas
from dlmkit.host.flags import EXPECTED, Flags, Seen
from dlmkit.loop.decision import Decision
from dlmkit.loop.forecast import Forecast
from dlmkit.loop.memory import Memory
from dlmkit.loop.proposal import Proposal
from dlmkit.loop.tracking import Look, Tracker
from dlmkit.loop.undo import Saved
from dlmkit.outcome import Outcome
from dlmkit.passes.session import Session, SizeUnknownError
from dlmkit.recorded.replay import replayed_step
from dlmkit.recorded.step_graphs import StepGraphs

if TYPE_CHECKING:
    from dlmkit.context import Context
    from dlmkit.denoise import Denoise

__all__ = ["Run"]


@attrs.define(kw_only=True, eq=False)
class Run:
    """A pipeline at work on a canvas: what the last step left behind, and the stages of the next.

    `held_B` marks rows that a reviser keeps in their block, `stuck_B` those that decided nothing
    though they had to (None: none); `number` counts the steps.  `graphs` are recorded steps;
    `next_look` is what the last of them has seen already.
    """

    pipeline: Denoise
    canvas: Canvas
    session: Session
    memory: Memory
    tracker: Tracker
    forecast: Forecast
    decision: Decision
    number: int = 0
    held_B: Tensor | None = None
    stuck_B: Tensor | None = None
    graphs: StepGraphs | None = None
    next_look: Look | None = None

    @classmethod
    def begin(cls, pipeline: Denoise, context: Context, canvas: Canvas) -> Run:
        """Lay everything out; nothing runs yet."""
        session = context.session(pipeline.model)
        info = session.info
        return cls(
            pipeline=pipeline,
            canvas=canvas,
            session=session,
            memory=Memory(pipeline, canvas, info.vocab_size, layers=info.layers),
            tracker=pipeline.tracker(canvas, info, context.seed),
            forecast=pipeline.forecast(),
            decision=pipeline.decision(),
            graphs=None if session.recorder is None else StepGraphs(session.recorder),
        )

    def records(self) -> Iterator[StepRecord]:
        """Take step after step until nothing is left to decide.

        Where the session runs ahead, a step begins before it is known that there is one and where
        the rows are; if they are elsewhere, it is undone as if it had not been.

        Raises:
            StrategyError: the transfer rule made no progress in a row.
        """
        while True:
            look = self.next_look or self.tracker.look(self.held_B, self.stuck_B)
            flags, before, record = look.flags(), None, None
            if self._may_run_ahead():
                before = Saved.of(self)
                record = self._ahead(look, flags)
            seen = flags.read()
            if before is not None and (record is None or seen != EXPECTED):
                before.restore(self)
                record = None
            if seen.stuck and self.stuck_B is not None:
                raise self.decision.standstill(self.stuck_B, self.number - 1)
            if not seen.left:
                return
            yield record or self._step(look, seen)

    def _ahead(self, look: Look, flags: Flags) -> StepRecord | None:
        """Take the step that follows if flags turn out as expected; None: it cannot be begun."""
        with self.session.only_if(flags.true):
            try:
                return self._step(look, EXPECTED)
            except SizeUnknownError:
                return None

    def _step(self, look: Look, seen: Seen) -> StepRecord:
        """Take one step from where the rows are, as it was recorded or as it is written."""
        self.next_look = None
        if self.graphs is not None and seen == EXPECTED:
            record = replayed_step(self, look, self.graphs)
            if record is not None:
                return record
        return self.written_step(look, seen)

    def written_step(self, look: Look, seen: Seen) -> StepRecord:
        """Take one step, stage after stage."""
        view = self.tracker.arrive(look, seen, self.number, self.memory.values)
        canvas, before_BN = self.canvas, self.canvas.tokens_BN
        view, prediction = self.forecast.predict(self.session, view)
        view = self.tracker.bound(view, prediction)
        proposal = Proposal.of(prediction, view, self.pipeline.sample, self.pipeline.confidence)
        view = view.proposing(proposal)
        commit_BP, exited_B, self.stuck_B = self.decision.choose(
            prediction, proposal.confidence_BP, view
        )
        canvas.commit(view.positions_BP, commit_BP, proposal.tokens_BP, view.step)
        self.held_B = self.decision.settle(prediction, view, canvas, exited_B)
        layout = self.decision.resize(prediction, view, canvas, exited_B)
        outcome = Outcome.of(view, commit_BP, before_BN, canvas.tokens_BN)
        self.memory.advance(outcome)
        if layout is not None:
            for kept in (canvas, self.memory, self.session):
                kept.follow(layout)
        self.number += 1
        laid_out = None if layout is None else canvas.snapshot()
        return StepRecord.of(outcome, self.pipeline.model, self.session.counts, laid_out)

    def _may_run_ahead(self) -> bool:
        """Whether the next step is likely to be the expected one, and could be undone."""
        session, place, transfer = self.session, self.tracker.place, self.pipeline.transfer
        if not session.runs_ahead or place is None or self.decision.length is not None:
            return False
        steps = transfer.steps_per_block(place.block.width)
        last = steps is not None and place.settled + 1 >= steps
        return not last and session.features is None
