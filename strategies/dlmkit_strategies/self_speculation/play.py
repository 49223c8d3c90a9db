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

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.picking import either
from dlmkit.draft_verify.stepper import Stepper
from dlmkit.memory import Memory
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.records import StepRecord
from dlmkit.view import View
from dlmkit_strategies.self_speculation.chain import agreement, furthest

if TYPE_CHECKING:
    from dlmkit.denoise import Denoise
    from dlmkit_strategies.self_speculation.free_dave import FreeDave

__all__ = ["Play"]


@attrs.define(kw_only=True, eq=False)
class Play:
    """What changes while a pipeline checks its own steps.

    `carried` is the prediction in hand, of rows in `holding_B`; of each row's block, `taken_B`
    counts the steps, `passes_B` the passes, and `masks_B` the masks it had at first.
    """

    pipeline: Denoise
    stepper: Stepper
    memory: Memory
    canvas: Canvas
    rules: FreeDave
    index_B: Tensor
    taken_B: Tensor
    passes_B: Tensor
    masks_B: Tensor
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
        return cls(
            pipeline=pipeline,
            stepper=Stepper(pipeline, session, context.seed),
            memory=Memory(pipeline, canvas, session.info.vocab_size, layers=session.info.layers),
            canvas=canvas,
            rules=rules,
            index_B=zero_B - 1,
            taken_B=zero_B,
            passes_B=zero_B,
            masks_B=zero_B,
            holding_B=torch.zeros_like(canvas.done_B),
        )

    def goes_on(self) -> bool:
        """Whether anything is left to decode."""
        return bool((self.canvas.masked_BN & self.canvas.undone_B1).any())

    def round(self) -> StepRecord:
        """Draft, look at every draft in one pass, keep what agrees."""
        before_BN, view = self.canvas.tokens_BN, self._view()
        states = self._drafted(view)
        view, predictions = self._looked_at(view, states)
        state_BXN = torch.stack([each.tokens_BN for each in states], dim=1)
        targets = [
            self._step(view, canvas, prediction, offset + self.holding_B.long())
            for offset, (canvas, prediction) in enumerate(zip(states, predictions, strict=True))
        ]
        target_BXN = torch.stack([each.after_BN for each in targets], dim=1)
        agree_BXX = agreement(state_BXN, target_BXN, self.canvas.mask_id, self.rules.agreement)
        reached_B = torch.where(self.holding_B, furthest(agree_BXX), 0)
        self.carried = _row_by_row(predictions, reached_B)
        self.taken_B = self.taken_B + torch.where(self.holding_B, reached_B + 1, 0)
        self.holding_B = view.live_B
        self._write(_chosen(state_BXN, reached_B))
        self._write_last_step(view, _chosen(target_BXN, reached_B))
        self.passes_B = self.passes_B + 1
        outcome = attrs.evolve(targets[0], view=view, before_BN=before_BN)
        outcome = attrs.evolve(outcome, after_BN=self.canvas.tokens_BN)
        self.memory.advance(outcome)
        record = StepRecord.of(outcome, self.pipeline.model, self.stepper.session.counts)
        self.number += 1
        return record

    def _view(self) -> View:
        """The view of the canvas; rows that enter a block have nothing in hand."""
        first = self.stepper.first(self.canvas, self.number, self.memory.values)
        entered_B = first.block.index_B != self.index_B
        self.index_B = first.block.index_B
        self.taken_B = torch.where(entered_B, 0, self.taken_B)
        self.passes_B = torch.where(entered_B, 0, self.passes_B)
        self.masks_B = torch.where(entered_B, first.block_masks_B, self.masks_B)
        self.holding_B = self.holding_B & ~entered_B
        # To the cache, each pass is a step.
        return attrs.evolve(first, block_step_B=self.passes_B, block_masks_B=self.masks_B)

    def _drafted(self, view: View) -> list[Canvas]:
        """The next steps on the prediction in hand, without those that no row takes."""
        canvas = view.canvas
        if self.carried is None or not bool((self.holding_B & view.live_B).any()):
            return [canvas]
        states: list[Canvas] = []
        for offset in range(self.rules.drafts):
            outcome = self._step(view, states[-1] if states else canvas, self.carried, offset)
            twin = canvas.snapshot()
            kept_BN = self.holding_B[:, None]
            twin.tokens_BN = torch.where(kept_BN, outcome.after_BN, canvas.tokens_BN)
            states.append(twin)
        new_X = [(a.tokens_BN != b.tokens_BN).any() for a, b in pairwise(states)]
        count = 1 + int(torch.stack(new_X).sum()) if new_X else 1
        return states[:count]

    def _step(
        self, view: View, canvas: Canvas, prediction: Prediction, offset: Tensor | int
    ) -> Outcome:
        """The pipeline's step from a state of the block, on a copy of it."""
        scratch = canvas.snapshot()
        seen = attrs.evolve(view.after(scratch), block_step_B=self.taken_B + offset)
        return self.stepper.decide(seen, prediction, scratch)

    def _looked_at(self, view: View, states: Sequence[Canvas]) -> tuple[View, list[Prediction]]:
        """One pass over all states, which share what is stored."""
        forecast = self.pipeline.forecast()
        return forecast.predict_states(
            self.stepper.session, view, [each.tokens_BN for each in states]
        )

    def _write(self, tokens_BN: Tensor) -> None:
        """Write what the chosen state holds."""
        columns_BN = self.canvas.columns_N.expand_as(tokens_BN)
        where_BN = self.canvas.masked_BN & (tokens_BN != self.canvas.mask_id)
        self.canvas.commit(columns_BN, where_BN, tokens_BN, self.number)

    def _write_last_step(self, view: View, target_BN: Tensor) -> None:
        """A step that completes the block needs no look at where it leads."""
        masked_BP = target_BN.gather(1, view.positions_BP) == self.canvas.mask_id
        left_B = (masked_BP & view.in_block_BP).any(dim=1)
        if self.rules.unseen == "single":
            here_BP = self.canvas.masked_BN.gather(1, view.positions_BP) & view.in_block_BP
            left_B = left_B | (here_BP.sum(dim=1) > 1)
        self._write(torch.where(left_B[:, None], self.canvas.tokens_BN, target_BN))


def _chosen(values_BXN: Tensor, index_B: Tensor) -> Tensor:
    index_B1N = index_B[:, None, None].expand(-1, 1, values_BXN.shape[2])
    return values_BXN.gather(1, index_B1N)[:, 0]


def _row_by_row(predictions: Sequence[Prediction], index_B: Tensor) -> Prediction:
    """Each row of the prediction with its number."""
    found = predictions[0]
    for number, each in enumerate(predictions[1:], 1):
        found = either((index_B == number)[:, None], each, found)
    return found
