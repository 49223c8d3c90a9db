"""A decode that checks its own next steps, in progress.

Legend: B rows, N canvas positions, P window positions, X states.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.audit import Audit
from dlmkit.draft_verify.picking import either
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.loop.memory import Memory
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.view import BlockSpan, View, window
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.self_speculation.chain import agreement, furthest

if TYPE_CHECKING:
    from dlmkit.denoise import Denoise
    from dlmkit_strategies.self_speculation.free_dave import FreeDave

__all__ = ["Play"]


@attrs.define(kw_only=True, eq=False)
class Play:
    """What changes while a pipeline checks its own steps.

    `carried` is the prediction in hand, of rows in `holding_B`; `past` is where each row's last
    step was; `block` is that of the canvas, in which `passes_B` counts the passes.
    """

    pipeline: Denoise
    stepper: Stepper
    memory: Memory
    canvas: Canvas
    rules: FreeDave
    past: Mark
    block: BlockSpan
    passes_B: Tensor
    holding_B: Tensor
    carried: Prediction | None = None
    number: int = 0

    @classmethod
    def begin(
        cls,
        rules: FreeDave,
        context: Context,
        canvas: Canvas,
    ) -> Play:
        """Lay everything out; nothing runs yet."""
        pipeline, zero_B = rules.pipeline, torch.zeros_like(canvas.start_B)
        session = context.session(pipeline.model)
        nowhere = BlockSpan(start_B=zero_B, stop_B=zero_B, index_B=zero_B - 1, width=0)
        return cls(
            pipeline=pipeline,
            stepper=Stepper(pipeline, session, context.seed),
            memory=Memory(pipeline, canvas, session.info.vocab_size, layers=session.info.layers),
            canvas=canvas,
            rules=rules,
            past=Mark.none(zero_B),
            block=nowhere,
            passes_B=zero_B,
            holding_B=torch.zeros_like(canvas.done_B),
        )

    def goes_on(self) -> bool:
        """Whether anything is left to decode."""
        return bool((self.canvas.masked_BN & self.canvas.undone_B1).any())

    def round(self) -> StepRecord:
        """Draft, look at every draft in one pass, keep what agrees."""
        before_BN, view = self.canvas.tokens_BN, self._view()
        states, marks = self._drafted(view)
        view, predictions = self._looked_at(view, states)
        state_BXN = torch.stack([each.tokens_BN for each in states], dim=1)
        steps = [
            self._step(view, canvas, prediction, mark)
            for canvas, prediction, mark in zip(states, predictions, marks, strict=True)
        ]
        targets = [outcome for outcome, _ in steps]
        target_BXN = torch.stack([each.after_BN for each in targets], dim=1)
        agree_BXX = agreement(state_BXN, target_BXN, self.canvas.mask_id, self.rules.agreement)
        reached_B = torch.where(self.holding_B, furthest(agree_BXX), 0)
        self.carried = _row_by_row(predictions, reached_B)
        self.holding_B = view.live_B
        self._write(_chosen(state_BXN, reached_B))
        self.past = _mark_of(marks, reached_B)
        stood_BN = self.canvas.tokens_BN
        self._write_last_step(view, _chosen(target_BXN, reached_B))
        stepped_B = (self.canvas.tokens_BN != stood_BN).any(dim=1)
        self.past = _mark_of([mark for _, mark in steps], reached_B).where(stepped_B, self.past)
        self.passes_B = self.passes_B + 1
        outcome = attrs.evolve(targets[0], view=view, before_BN=before_BN)
        outcome = attrs.evolve(outcome, after_BN=self.canvas.tokens_BN)
        self.memory.advance(outcome)
        record = StepRecord.of(outcome, self.pipeline.model, self.stepper.session.counts)
        self.number += 1
        audit = _audit(outcome, state_BXN, reached_B)
        return attrs.evolve(record, phase="verify", audit=audit)

    def _view(self) -> View:
        """The view of the canvas; rows that enter a block have nothing in hand."""
        first = self.stepper.first(self.canvas, self.number, self.memory.values)
        entered_B = first.block.index_B != self.block.index_B
        self.block = first.block
        self.passes_B = torch.where(entered_B, 0, self.passes_B)
        self.holding_B = self.holding_B & ~entered_B
        # To the cache, each pass is a step.
        masks_B = self.past.next(first).masks_B
        view = attrs.evolve(first, block_step_B=self.passes_B, block_masks_B=masks_B)
        return view if not self.rules.ahead else self._widened(view)

    def _widened(self, view: View) -> View:
        """The view of the block and those ahead as one."""
        width = view.block.width * (1 + self.rules.ahead)
        stop_B = (view.block.start_B + width).minimum(view.canvas.length_B)
        block = attrs.evolve(view.block, stop_B=stop_B, width=width)
        columns = view.tokens_BN.shape[1]
        positions_BP, inside_BP = window(view.block.start_B, stop_B, width, columns)
        wide = attrs.evolve(view, block=block, open_BP=None, in_block_BP=None)
        if view.positions_BP.shape[1] >= width:
            return wide
        return attrs.evolve(wide, positions_BP=positions_BP, inside_BP=inside_BP)

    def _drafted(self, view: View) -> tuple[list[Canvas], list[Mark]]:
        """The next steps on the prediction in hand, without those that no row takes.

        Each comes with the place of the step that led to it.
        """
        canvas = view.canvas
        if self.carried is None or not bool((self.holding_B & view.live_B).any()):
            return [canvas], [self.past]
        states, marks = [canvas], [self.past]
        for _ in range(self.rules.drafts):
            outcome, mark = self._step(view, states[-1], self.carried, marks[-1], drafting=True)
            twin = canvas.snapshot()
            kept_BN = self.holding_B[:, None]
            twin.tokens_BN = torch.where(kept_BN, outcome.after_BN, canvas.tokens_BN)
            states.append(twin)
            marks.append(mark.where(self.holding_B, self.past))
        states, marks = states[1:], marks[1:]
        new_X = [(a.tokens_BN != b.tokens_BN).any() for a, b in pairwise(states)]
        count = 1 + int(torch.stack(new_X).sum()) if new_X else 1
        return states[:count], marks[:count]

    def _step(
        self,
        view: View,
        canvas: Canvas,
        prediction: Prediction,
        before: Mark,
        *,
        drafting: bool = False,
    ) -> tuple[Outcome, Mark]:
        """The pipeline's step from a state, on a copy of it, and where that is."""
        scratch = canvas.snapshot()
        first = self.stepper.first(scratch, self.number, self.memory.values)
        own, mark = self.stepper.view(first, before), before.next(first)
        seen = attrs.evolve(
            view.after(scratch),
            noise=own.noise,
            block=own.block,
            block_step_B=own.block_step_B,
            block_masks_B=own.block_masks_B,
            in_block_BP=None,
        )
        outcome = self.stepper.decide(seen, prediction, scratch)
        if drafting and self.rules.ahead and seen.steps_per_block is None:
            outcome = self._one_by_one(outcome)
        return outcome, mark

    def _one_by_one(self, outcome: Outcome) -> Outcome:
        """In later blocks, of which little is known yet, the most confident position only."""
        best_BP = top_n(outcome.confidence_BP, outcome.commit_BP, 1)
        best_BN = torch.zeros_like(outcome.before_BN)
        best_BN = best_BN.scatter_add(1, outcome.view.positions_BP, best_BP.long()) > 0
        later_B = outcome.view.block.index_B != self.block.index_B
        after_BN = torch.where(best_BN, outcome.after_BN, outcome.before_BN)
        after_BN = torch.where(later_B[:, None], after_BN, outcome.after_BN)
        return attrs.evolve(outcome, after_BN=after_BN)

    def _looked_at(self, view: View, states: Sequence[Canvas]) -> tuple[View, list[Prediction]]:
        """One pass over all states, which share what is stored."""
        return self.pipeline.forecast().predict_states(
            self.stepper.session,
            view,
            [each.tokens_BN for each in states],
            columns=self.rules.layout == "columns",
        )

    def _write(self, tokens_BN: Tensor) -> None:
        """Write what the chosen state holds."""
        columns_BN = self.canvas.columns_N.expand_as(tokens_BN)
        where_BN = self.canvas.masked_BN & (tokens_BN != self.canvas.mask_id)
        self.canvas.commit(columns_BN, where_BN, tokens_BN, self.number)

    def _write_last_step(self, view: View, target_BN: Tensor) -> None:
        """A step that completes the block needs no look at where it leads.

        With blocks ahead, what counts is whether the state completes it: then the step leads on.
        """
        in_block_BP = view.positions_BP < self.block.stop_B[:, None]
        in_block_BP = in_block_BP & view.in_block_BP
        here_BP = self.canvas.masked_BN.gather(1, view.positions_BP) & in_block_BP
        left_BP = (target_BN.gather(1, view.positions_BP) == self.canvas.mask_id) & in_block_BP
        left_B = left_BP.any(dim=1)
        if self.rules.unseen == "single":
            left_B = left_B | (here_BP.sum(dim=1) > 1)
        further_B = view.block.stop_B > self.block.stop_B
        left_B = torch.where(further_B, here_BP.any(dim=1), left_B)
        self._write(torch.where(left_B[:, None], self.canvas.tokens_BN, target_BN))


def _audit(outcome: Outcome, state_BXN: Tensor, reached_B: Tensor) -> Audit:
    """What became of the drafts; the first is no guess but the step on the prediction in hand."""
    first_BN, stood_BN = state_BXN[:, 0], _chosen(state_BXN, reached_B)
    kept_BN = stood_BN != first_BN
    proposed_BK = (state_BXN[:, 1:] != state_BXN[:, :-1]).sum(dim=2)
    depth_K = torch.arange(1, state_BXN.shape[1], device=reached_B.device)
    return Audit(
        drafted_BN=state_BXN[:, -1] != first_BN,
        kept_BN=kept_BN,
        corrected_BN=torch.zeros_like(kept_BN),
        bonus_BN=(outcome.after_BN != outcome.before_BN) & ~kept_BN,
        proposed_BK=proposed_BK,
        accepted_BK=torch.where(depth_K <= reached_B[:, None], proposed_BK, 0),
        round_B=outcome.view.live_B,
    )


def _chosen(values_BXN: Tensor, index_B: Tensor) -> Tensor:
    index_B1N = index_B[:, None, None].expand(-1, 1, values_BXN.shape[2])
    return values_BXN.gather(1, index_B1N)[:, 0]


def _mark_of(marks: Sequence[Mark], index_B: Tensor) -> Mark:
    """Each row's mark with its number."""
    found = marks[0]
    for number, each in enumerate(marks[1:], 1):
        found = each.where(index_B == number, found)
    return found


def _row_by_row(predictions: Sequence[Prediction], index_B: Tensor) -> Prediction:
    """Each row of the prediction with its number."""
    found = predictions[0]
    for number, each in enumerate(predictions[1:], 1):
        found = either((index_B == number)[:, None], each, found)
    return found
