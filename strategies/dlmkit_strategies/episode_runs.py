"""The runs of an episode: every pass is recorded, numbered and counted, and what came of it rated.

Where a run begins on another canvas than the last one ended with, the record of the last pass
names it.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import EngineError
from dlmkit.need import Need
from dlmkit.noise import SEED_LIMIT
from dlmkit.passes.plan import Plan
from dlmkit.roles import Procedure
from dlmkit.view import whole_region, window

__all__ = ["Episode"]

_GOLDEN = 0x9E3779B9
"""An odd constant far from 0, so that the seeds of neighbouring runs and users do not meet."""


class Episode:
    """The runs of one decode: numbers their passes, and rates what came of each."""

    def __init__(self, context: Context, canvas: Canvas, model: str) -> None:
        self._context, self._canvas, self._model = context, canvas, model
        self._held: StepRecord | None = None
        self._step = 0
        self.confidence_B = self.reread_B = torch.zeros_like(canvas.samples_B, dtype=torch.float64)

    def run(self, pipeline: Procedure, number: int) -> Iterator[StepRecord]:
        """Run a pipeline with random numbers of its own, and nothing stored."""
        sessions = {name: each.sibling() for name, each in self._context.sessions.items()}
        seed = (self._context.seed + number * _GOLDEN) % SEED_LIMIT
        context = attrs.evolve(self._context, sessions=sessions, seed=seed)
        total_B, count_B = torch.zeros_like(self.confidence_B), torch.zeros_like(self.confidence_B)
        before: Canvas | None = self._canvas.snapshot()
        for record in pipeline.steps(context, self._canvas):
            score_BP, counted_BP = _committed(record, self._canvas.mask_id)
            total_B = total_B + torch.where(counted_BP, score_BP, 0.0).sum(dim=1)
            count_B = count_B + counted_BP.sum(dim=1)
            yield from self._pass(record, before)
            before = None
        self.confidence_B = total_B / count_B.clamp_min(1)

    def reread(self) -> Iterator[StepRecord]:
        """Rate the texts as they stand by one more pass over them.

        Raises:
            EngineError: the engine does not rate the tokens that stand.
        """
        canvas, session = self._canvas, self._context.session(self._model).sibling()
        span, tokens_BN = whole_region(canvas), canvas.tokens_BN
        positions_BP, inside_BP = window(span.start_B, span.stop_B, span.width, tokens_BN.shape[1])
        (prediction,) = session.predict(
            (tokens_BN,), canvas, positions_BP, Plan.full(tokens_BN), Need(current=True)
        )
        logp_BP = prediction.pack.current_logp_BP
        if logp_BP is None:
            raise EngineError(
                f"the engine of '{self._model}' does not rate the tokens that stand",
                hint="score by confidence instead, or run the model on the engine torch",
            )
        open_BP = inside_BP & ~canvas.given_BN.gather(1, positions_BP)
        own_BP = open_BP & ~canvas.masked_BN.gather(1, positions_BP)
        total_B = torch.where(own_BP, logp_BP.double(), 0.0).sum(dim=1)
        self.reread_B = total_B / own_BP.sum(dim=1).clamp_min(1)
        record = StepRecord(
            step=0,
            network=self._model,
            counts=session.counts,
            before_BN=tokens_BN,
            after_BN=tokens_BN,
            positions_BP=positions_BP,
            proposals_BP=tokens_BN.gather(1, positions_BP),
            confidence_BP=logp_BP,
            live_B=torch.ones_like(canvas.done_B),
            block=span,
        )
        yield from self._pass(record, None)

    def close(self) -> Iterator[StepRecord]:
        """Hand on the last pass, with the canvas that was chosen in the end."""
        if self._held is not None:
            yield attrs.evolve(self._held, laid_out=self._canvas.snapshot())

    def _pass(self, record: StepRecord, began: Canvas | None) -> Iterator[StepRecord]:
        """Hold a pass back until it is known on which canvas the next run begins."""
        if self._held is not None:
            held = self._held if began is None else attrs.evolve(self._held, laid_out=began)
            yield held
        self._held = attrs.evolve(record, step=self._step)
        self._step += 1


def _committed(record: StepRecord, mask_id: int) -> tuple[Tensor, Tensor]:
    """Confidences of a pass, float64, and where they are those of tokens that it committed."""
    new_BN = (record.before_BN == mask_id) & (record.after_BN != mask_id)
    score_BP = record.confidence_BP.double()
    return score_BP, new_BN.gather(1, record.positions_BP) & score_BP.isfinite()
