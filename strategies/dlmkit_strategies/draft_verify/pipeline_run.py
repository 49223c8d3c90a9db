"""A pipeline at work as a drafter: its steps, its cache, and the way back from a draft.

Legend: B rows, P window positions, E entries, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from itertools import count

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.canvas import Canvas
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.dates import Dates
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.key_values.store import Store
from dlmkit.loop.memory import Memory, parts
from dlmkit.need import Need
from dlmkit.noise import SEED_LIMIT, Noise
from dlmkit.outcome import Outcome
from dlmkit.roles import CachePolicy
from dlmkit_strategies.draft_verify.recall import reminded

__all__ = ["PipelineRun"]

STRIDE = 4096
"""Random numbers are numbered by round and step; no round drafts this many steps."""
OWN_NUMBERS = 0x9E3779B9
"""Keeps the drafter's random numbers apart from the verifier's."""


@attrs.frozen(kw_only=True, eq=False)
class Before:
    """What a draft may have to return to."""

    mark: Mark
    memory: Mapping[int, Mapping[str, Tensor]]
    store: Store | None
    dates: Dates


class PipelineRun(DraftRun):
    """The pipeline on a canvas of its own."""

    def __init__(self, pipeline: Denoise, recall: float, setting: Setting) -> None:
        session = setting.context.session(pipeline.model).sibling()
        seed = (setting.context.seed + OWN_NUMBERS) % SEED_LIMIT
        self.pipeline, self.session, self.laws = pipeline, session, setting.laws
        self.noise = setting.noise
        need = Need(logits=setting.laws or recall > 0)
        self.stepper = Stepper(pipeline, session, seed, need)
        self.recall = recall
        self.told: Outcome | None = None
        info = session.info
        self.memory = Memory(pipeline, setting.canvas, info.vocab_size, layers=info.layers)
        self.mark = Mark.none(setting.canvas.start_B)
        self.dates, self.passes = Dates.of(setting.canvas), 0
        self.drafted_BN = setting.canvas.tokens_BN
        self.before = self._saved()

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Step on a copy of the canvas while some row has budget left."""
        scratch, found = start.canvas.snapshot(), []
        self.before = self._saved()
        resting_B = torch.zeros_like(scratch.done_B)
        for index in count():
            scratch.done_B = scratch.done_B | resting_B | (start.budget_B <= index)
            first = self.stepper.first(self._dated(scratch), self.passes, self.memory.values)
            view = own = self.stepper.view(first, self.mark)
            if not bool(view.live_B.any()):
                break
            noise = Noise(self.stepper.seed, scratch.samples_B, start.number * STRIDE + index)
            view, prediction = self.stepper.predict(attrs.evolve(view, noise=noise))
            if self.told is not None and self.recall:
                prediction = reminded(prediction, view, self.told, self.recall, self.stepper.needs)
            outcome = self.stepper.decide(view, prediction, scratch)
            remembered = self.memory.values
            self.memory.advance(outcome)
            # A row that rests took no part in the pass, and will draft again.
            self.memory.rewind(remembered, ~view.live_B)
            self.dates = Dates.of(view.canvas).where(view.live_B, self.dates)
            self.passes += 1
            self.mark = Mark.of(own).where(view.live_B, self.mark)
            found.append(self._entries(outcome, index))
            going_B = start.schedule.goes_on(outcome, start)
            resting_B = resting_B if going_B is None else resting_B | ~going_B
            record = StepRecord.of(outcome, self.pipeline.model, self.session.counts)
            yield attrs.evolve(record, phase="draft")
        self.drafted_BN = scratch.tokens_BN
        return _joined(found) if found else Draft.empty(len(resting_B), resting_B.device)

    def settle(self, result: RoundResult) -> None:
        """Return rows whose draft was not kept whole to where they were before it.

        A store that only grows is cut instead: what it holds of the text that stands is true.
        The verifier's own step counts as one of the pipeline's.
        """
        self.told = result.step
        lost_B = ~result.whole_B
        self.mark = self._stepped(self.before.mark.where(lost_B, self.mark), result)
        self.memory.rewind({**self.before.memory, **self._cut(result)}, lost_B)
        self.dates = self.before.dates.where(lost_B, self.dates)
        if self._grows:
            return
        if self.session.store is not None and self.before.store is not None:
            self.session.store.rollback(self.before.store, lost_B)
        elif self.session.store is not None:
            self.session.store.invalidate(lost_B[:, None])

    def _stepped(self, mark: Mark, result: RoundResult) -> Mark:
        """One step on in rows in which the verifier took its own.

        An approximate cache goes by the passes that it has seen itself.
        """
        if self.stepper.approximation is not None:
            return mark
        canvas = result.round.canvas.snapshot()
        canvas.tokens_BN = result.written_BN
        took_B = (result.after_BN != result.written_BN).any(dim=1)
        first = self.stepper.first(canvas, result.round.number, self.memory.values)
        return mark.next(first).where(took_B, mark)

    @property
    def _grows(self) -> bool:
        """Whether the cache holds decided text only, each part of it for good."""
        cache = self.pipeline.cache
        return cache is not None and cache.exact() and cache.confined()

    def _cut(self, result: RoundResult) -> Mapping[int, Mapping[str, Tensor]]:
        """What a growing cache remembers once the text that was sent back has changed again."""
        cache = self.pipeline.cache
        if cache is None or not self._grows:
            return {}
        canvas = result.round.canvas.snapshot()
        canvas.tokens_BN = self.drafted_BN
        canvas.done_B = torch.ones_like(canvas.done_B)  # nothing is computed
        now = self.memory.values
        view = self.stepper.first(canvas, result.round.number, now)
        outcome = attrs.evolve(
            result.step, view=view, before_BN=self.drafted_BN, after_BN=result.after_BN
        )
        owners = [part for part in parts(cache) if isinstance(part, CachePolicy)]
        return {id(each): each.advance(outcome) for each in owners if id(each) in now}

    def _saved(self) -> Before:
        store = None if self._grows else self.session.store
        return Before(
            mark=self.mark,
            memory=self.memory.values,
            store=None if store is None else store.snapshot(),
            dates=self.dates,
        )

    def _dated(self, canvas: Canvas) -> Canvas:
        """The canvas as a cache that is not exact knows it."""
        known = self.stepper.approximation is None
        return canvas if known else self.dates.dated(canvas, self.passes)

    def _entries(self, outcome: Outcome, index: int) -> Draft:
        """What a step decided, as one node."""
        commit_BP = outcome.commit_BP
        width = int(commit_BP.sum(dim=1).amax())
        order_BE = commit_BP.int().argsort(dim=1, descending=True, stable=True)[:, :width]
        tokens_BP, prediction = outcome.proposals_BP, outcome.prediction
        law_BPV = self.pipeline.sample.law(prediction, outcome.view)
        logp_BP = prediction.logp_of(tokens_BP)
        if law_BPV is not None:
            logp_BP = law_BPV.gather(-1, tokens_BP[..., None])[..., 0]
        elif self.laws and prediction.logits_BPV is not None:
            law_BPV = prediction.logits_BPV.double().log_softmax(dim=-1)
        noise_BPV = None
        if self.noise:
            noise_BPV = self.pipeline.sample.noise(prediction, outcome.view)
        return Draft(
            position_BE=outcome.view.positions_BP.gather(1, order_BE),
            token_BE=tokens_BP.gather(1, order_BE),
            node_BE=torch.full_like(order_BE, index),
            valid_BE=commit_BP.gather(1, order_BE),
            parent_BD=torch.full_like(order_BE[:, :1], index - 1),
            logp_BE=logp_BP.double().gather(1, order_BE),
            law_BEV=_taken(law_BPV, order_BE) if self.laws else None,
            noise_BEV=_taken(noise_BPV, order_BE),
        )


def _taken(law_BPV: Tensor | None, order_BE: Tensor) -> Tensor | None:
    if law_BPV is None:
        return None
    return law_BPV.gather(1, order_BE[..., None].expand(-1, -1, law_BPV.shape[-1]))


def _joined(steps: list[Draft]) -> Draft:
    """A chain of the steps' nodes."""
    laws = [step.law_BEV for step in steps if step.law_BEV is not None]
    noises = [step.noise_BEV for step in steps if step.noise_BEV is not None]
    return Draft(
        position_BE=torch.cat([step.position_BE for step in steps], dim=1),
        token_BE=torch.cat([step.token_BE for step in steps], dim=1),
        node_BE=torch.cat([step.node_BE for step in steps], dim=1),
        valid_BE=torch.cat([step.valid_BE for step in steps], dim=1),
        parent_BD=torch.cat([step.parent_BD for step in steps], dim=1),
        logp_BE=torch.cat([step.logp_BE for step in steps if step.logp_BE is not None], dim=1),
        law_BEV=torch.cat(laws, dim=1) if laws else None,
        noise_BEV=torch.cat(noises, dim=1) if noises else None,
    )
