"""Single steps of a `denoise` pipeline, from any canvas and any point of its way there.

The loop in `dlmkit.loop.run` follows one canvas.  Drafting and verifying need the very same
decisions on canvases that branch, are rolled back, or belong to rows that have taken different
numbers of steps, so here the place in a decode is a value that is handed in.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.loop.proposal import Proposal
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.outcome import Outcome
from dlmkit.passes.session import Session
from dlmkit.prediction import Prediction
from dlmkit.view import View

if TYPE_CHECKING:
    from dlmkit.denoise import Denoise
    from dlmkit.loop.decision import Decision
    from dlmkit.loop.forecast import Forecast
    from dlmkit.roles import CachePolicy

__all__ = ["Mark", "Stepper"]


@attrs.frozen(kw_only=True, eq=False)
class Mark:
    """Where rows are in their own decodes, all int64.

    `index_B` the block; `step_B` the steps since it was entered; `masks_B` the masks it had then;
    `taken_B` all steps so far.
    """

    index_B: Tensor
    step_B: Tensor
    masks_B: Tensor
    taken_B: Tensor

    @classmethod
    def none(cls, like_B: Tensor) -> Mark:
        """Rows that have not taken a step."""
        nowhere_B = torch.full_like(like_B, -1)
        return cls(index_B=nowhere_B, step_B=nowhere_B, masks_B=nowhere_B, taken_B=nowhere_B)

    @classmethod
    def of(cls, view: View) -> Mark:
        """The place of the step that a view describes; its random numbers are of that step."""
        return cls(
            index_B=view.block.index_B,
            step_B=view.block_step_B,
            masks_B=view.block_masks_B,
            taken_B=torch.zeros_like(view.block_step_B) + view.noise.step,
        )

    def next(self, view: View) -> Mark:
        """One step on; a row that has entered another block counts steps and masks there anew.

        The view is one that knows of no earlier step.
        """
        entered_B = view.block.index_B != self.index_B
        return Mark(
            index_B=view.block.index_B,
            step_B=torch.where(entered_B, 0, self.step_B + 1),
            masks_B=torch.where(entered_B, view.block_masks_B, self.masks_B),
            taken_B=self.taken_B + 1,
        )

    def where(self, rows_B: Tensor, other: Mark) -> Mark:
        """This mark in the chosen rows, the other one elsewhere."""
        return Mark(
            index_B=torch.where(rows_B, self.index_B, other.index_B),
            step_B=torch.where(rows_B, self.step_B, other.step_B),
            masks_B=torch.where(rows_B, self.masks_B, other.masks_B),
            taken_B=torch.where(rows_B, self.taken_B, other.taken_B),
        )

    def rows(self, index_B: Tensor) -> Mark:
        """The marks of other rows."""
        return Mark(
            index_B=self.index_B[index_B],
            step_B=self.step_B[index_B],
            masks_B=self.masks_B[index_B],
            taken_B=self.taken_B[index_B],
        )


@attrs.frozen(eq=False)
class _Stages:
    """What a pipeline is resolved to before its first step."""

    forecast: Forecast
    decision: Decision
    region: bool

    @classmethod
    def of(cls, pipeline: Denoise) -> _Stages:
        return cls(pipeline.forecast(), pipeline.decision(), pipeline.reads_region())


@attrs.frozen(eq=False)
class Stepper:
    """A pipeline on one network.

    `need` is what others read of its predictions; `region` asks for predictions of the whole
    region instead of the current block.
    """

    pipeline: Denoise
    session: Session
    seed: int
    need: Need = attrs.field(factory=Need)
    region: bool = False
    _stages: _Stages = attrs.field(
        default=attrs.Factory(lambda self: _Stages.of(self.pipeline), takes_self=True), repr=False
    )

    def first(
        self,
        canvas: Canvas,
        step: int,
        memory: Mapping[int, Mapping[str, Tensor]] | None = None,
    ) -> View:
        """The view of a canvas that no step has led to."""
        region = self._stages.region or self.region
        tracker = self.pipeline.tracker(canvas, self.session.info, self.seed, region=region)
        return tracker.first(step, memory or {})

    def view(self, first: View, before: Mark) -> View:
        """The view of a canvas to which the step after `before` led.

        Random numbers are those of the row's own step, whatever number the view has.
        """
        mark = before.next(first)
        return attrs.evolve(
            first,
            noise=Noise(self.seed, first.samples_B, mark.taken_B),
            block_step_B=mark.step_B,
            block_masks_B=mark.masks_B,
            taken_B=mark.taken_B,
        )

    def predict(self, view: View, aside: View | None = None) -> tuple[View, Prediction]:
        """Run one forward pass; `aside` are positions to predict by shadows as well."""
        forecast = attrs.evolve(self._stages.forecast, need=self.needs)
        return forecast.predict(self.session, view, aside)

    @property
    def needs(self) -> Need:
        """Everything that is read of a prediction."""
        return Need.union((self._stages.forecast.need, self.need))

    @property
    def approximation(self) -> CachePolicy | None:
        """The cache, if stored keys and values may be other than those of a fresh pass."""
        cache = self.pipeline.cache
        return None if cache is None or cache.exact() else cache

    def renews_B(self, view: View) -> Tensor:
        """Rows in which a pass would renew what an approximate cache stores, bool."""
        cache = self.approximation
        return torch.zeros_like(view.canvas.done_B) if cache is None else cache.renews(view)

    def decide(self, view: View, prediction: Prediction, canvas: Canvas) -> Outcome:
        """Decide what the pipeline decides on that prediction, on the canvas itself."""
        pipeline, decision = self.pipeline, self._stages.decision
        before_BN = canvas.tokens_BN
        proposal = Proposal.of(prediction, view, pipeline.sample, pipeline.confidence)
        view = view.proposing(proposal)
        commit_BP, exited_B = decision.select(prediction, proposal.confidence_BP, view)
        canvas.commit(view.positions_BP, commit_BP, proposal.tokens_BP, view.step)
        decision.settle(prediction, view, canvas, exited_B)
        return Outcome.of(view, commit_BP, before_BN, canvas.tokens_BN)
