"""From rated proposals to canvas changes: exit, select, guard, then revise and stop.

Everything a strategy returns is cut to what it may touch before it is applied, and a rule that
would loop for ever is stopped by name.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.errors import StrategyError
from dlmkit.layout import Layout
from dlmkit.loop.lengths import new_layout
from dlmkit.prediction import Prediction
from dlmkit.roles import (
    CommitGuard,
    EarlyExit,
    LengthController,
    Reviser,
    StopRule,
    TransferRule,
)
from dlmkit.view import View

__all__ = ["Decision"]


@attrs.frozen(kw_only=True)
class Decision:
    """The deciding slots of a pipeline.

    From step `max_steps` on, every step commits its whole block, revises nothing and inserts
    nothing, so that a decode ends whatever the revisers do.
    """

    transfer: TransferRule
    exit: tuple[EarlyExit, ...]
    guard: tuple[CommitGuard, ...]
    revise: tuple[Reviser, ...]
    length: LengthController | None
    stop: tuple[StopRule, ...]
    max_steps: int | None

    def select(
        self, prediction: Prediction, confidence_BP: Tensor, view: View
    ) -> tuple[Tensor, Tensor | None]:
        """Return which proposals become tokens in this step, `commit_BP`, and `exited_B`.

        The second is None where no exit had a say.

        Raises:
            StrategyError: the transfer rule made no progress in a row.
        """
        commit_BP, exited_B, stuck_B = self.choose(prediction, confidence_BP, view)
        if stuck_B is not None and bool(stuck_B.any()):
            raise self.standstill(stuck_B, view.step)
        return commit_BP, exited_B

    def choose(
        self, prediction: Prediction, confidence_BP: Tensor, view: View
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """As `select`, but also return the rows that made no progress, `stuck_B`, unread.

        The third is None where every row is sure to make some.
        """
        exited_B: Tensor | None = None
        if self._final(view.step):
            return view.eligible_BP, exited_B, None
        commit_BP = self.transfer.select(confidence_BP, view) & view.eligible_BP
        for guard in self.guard:
            commit_BP = guard.guard(commit_BP, confidence_BP, view) & view.eligible_BP
        for rule in self.exit:
            verdict = rule.decide(prediction, confidence_BP, view)
            if verdict is not None:
                scope_BP = view.eligible_BP if verdict.scope == "block" else view.open_BP
                commit_BP = commit_BP | (scope_BP & verdict.rows_B[:, None])
                exited_B = verdict.rows_B if exited_B is None else exited_B | verdict.rows_B
        stuck_B = self._stuck(commit_BP, view)
        waiting_B = self._waiting(prediction, view)
        if waiting_B is not None:
            commit_BP = commit_BP & ~waiting_B[:, None]
            exited_B = None if exited_B is None else exited_B & ~waiting_B
        return commit_BP, exited_B, stuck_B

    def standstill(self, stuck_B: Tensor, step: int) -> StrategyError:
        """What to raise where rows made no progress; reads which was the first."""
        return StrategyError(
            f"transfer rule '{self.transfer.name}' made no progress in step {step}, "
            f"row {int(stuck_B.int().argmax())}",
            hint="combine it with a rule that always commits, for example union with top-k",
        )

    def settle(
        self, prediction: Prediction, view: View, canvas: Canvas, exited_B: Tensor | None
    ) -> Tensor | None:
        """Revise earlier tokens and stop rows, on the canvas with this step's commits.

        Rows that exited, or had nothing to decide, are not revised: alone they would have ended.
        Returns the rows that a reviser keeps in their block, `held_B` (None: none).
        """
        held_B: Tensor | None = None
        for reviser in () if self._final(view.step) else self.revise:
            seen = view if reviser.sees == "before" else view.after(canvas)
            revision = reviser.revise(prediction, seen)
            if revision is not None:
                open_B = view.live_B & ~canvas.done_B
                open_B = open_B if exited_B is None else open_B & ~exited_B
                where_BP = revision.where_BP & view.inside_BP & open_B[:, None]
                canvas.commit(view.positions_BP, where_BP, revision.tokens_BP, view.step)
                if revision.again_B is not None:
                    again_B = revision.again_B & open_B
                    held_B = again_B if held_B is None else held_B | again_B
        for rule in self.stop:
            seen = attrs.evolve(view.after(canvas), held_B=held_B)
            canvas.done_B = canvas.done_B | rule.stop(seen)
        return None if held_B is None else held_B & ~canvas.done_B

    def resize(
        self, prediction: Prediction, view: View, canvas: Canvas, exited_B: Tensor | None
    ) -> Layout | None:
        """Change the length of rows, on the canvas as this step leaves it; None: no change.

        Rows that exited gain nothing: alone they would have ended.
        """
        if self.length is None:
            return None
        grows_B = torch.full_like(canvas.done_B, not self._final(view.step))
        return new_layout(
            self.length,
            prediction,
            view,
            canvas,
            grows_B=grows_B if exited_B is None else grows_B & ~exited_B,
            waiting_B=self._waiting(prediction, view),
        )

    def _waiting(self, prediction: Prediction, view: View) -> Tensor | None:
        """Rows whose length is still being found, `waiting_B` bool."""
        if self.length is None or self._final(view.step):
            return None
        waiting_B = self.length.waits(prediction, view)
        return None if waiting_B is None else waiting_B & view.live_B

    def _stuck(self, commit_BP: Tensor, view: View) -> Tensor:
        """Rows that decided nothing though they had to, bool."""
        if self.transfer.may_wait:
            last_B = view.block_step_B + 1 >= (view.steps_per_block or 1)
            return last_B & (view.eligible_BP & ~commit_BP).any(dim=1)
        return view.deciding_B & ~commit_BP.any(dim=1)

    def _final(self, step: int) -> bool:
        return self.max_steps is not None and step >= self.max_steps
