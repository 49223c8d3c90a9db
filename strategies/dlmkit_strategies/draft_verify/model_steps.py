"""Drafting with a pipeline of its own: another network, or the same one with an approximation.

Legend: B rows, P window positions, E entries, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from itertools import count
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.errors import RequestError
from dlmkit.memory import Memory
from dlmkit.need import Need
from dlmkit.noise import SEED_LIMIT, Noise
from dlmkit.outcome import Outcome
from dlmkit.records import StepRecord
from dlmkit.store import Store
from dlmkit_strategies.draft_verify.recall import reminded

__all__ = ["ModelSteps"]

STRIDE = 4096
"""Random numbers are numbered by round and step; no round drafts this many steps."""
MANY = 1 << 20
"""More positions than any text has."""
OWN_NUMBERS = 0x9E3779B9
"""Keeps the drafter's random numbers apart from the verifier's."""


@attrs.frozen(kw_only=True)
class ModelSteps(Drafter):
    """Several steps of an ordinary pipeline, each a node on top of the one before.

    The pipeline has its own network, which may be the verifier's with a cache, and its own cache.
    Rows whose draft was not kept whole return to the cache as it was before; the others keep it.
    With `recall` the drafter also knows what the verifier said last about a position, and so
    follows its order more closely; that changes guesses, never what is kept of them.
    Source: DualDiffusion (arXiv:2604.05250).
    """

    name = "model-steps"

    pipeline: Denoise = option(doc="what drafts; it must not take tokens back")
    recall: float = option(
        0.0,
        doc="weight of the verifier's last distributions in the drafter's, as powers; 0: none",
        check=(at_least(0), at_most(1)),
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """What is recalled takes the place of the pipeline's own edits."""
        if options["recall"] and (options["pipeline"].logits or options["pipeline"].guide):
            message = "recall does not go with `logits` or `guide` in the pipeline"
            yield "recall", message, "leave out one of them"

    def begin(self, setting: Setting) -> DraftRun:
        """Open a session of its own."""
        return _Steps(self, setting)

    @property
    def order(self) -> Literal["position", "reveal"]:  # type: ignore[override] # the pipeline's
        """From left to right if its blocks hold one token."""
        blocks = self.pipeline.blocks
        single = blocks is not None and blocks.planned_width(MANY) == 1
        return "position" if single else "reveal"

    def alone(self) -> bool:
        """Whether a step decides one position, however many are masked."""
        if self.order == "position":
            return True
        return self.pipeline.transfer.steps_per_block(MANY) == MANY and not self.pipeline.exit

    def needs(self) -> Need:
        """The verifier's distributions, if they are recalled."""
        return Need(logits=self.recall > 0)

    def sampled(self) -> bool:
        """Whether the pipeline's sampler draws."""
        return self.pipeline.sample.stochastic


@attrs.frozen(kw_only=True, eq=False)
class _Before:
    """What a draft may have to return to."""

    mark: Mark
    memory: Mapping[int, Mapping[str, Tensor]]
    store: Store | None


class _Steps(DraftRun):
    """The pipeline on a canvas of its own."""

    def __init__(self, drafter: ModelSteps, setting: Setting) -> None:
        pipeline = drafter.pipeline
        session = setting.context.session(pipeline.model).sibling()
        verifier = setting.context.session(setting.verifier.model)
        if session.info.vocab_size != verifier.info.vocab_size:
            raise RequestError(
                f"drafter '{pipeline.model}' has {session.info.vocab_size} tokens, verifier "
                f"'{setting.verifier.model}' {verifier.info.vocab_size}",
                hint="carry the text between them, for example with `bridge: retokenize`",
            )
        seed = (setting.context.seed + OWN_NUMBERS) % SEED_LIMIT
        self.pipeline, self.session, self.laws = pipeline, session, setting.laws
        need = Need(logits=setting.laws or drafter.recall > 0)
        self.stepper = Stepper(pipeline, session, seed, need)
        self.recall = drafter.recall
        self.told: Outcome | None = None
        info = session.info
        self.memory = Memory(pipeline, setting.canvas, info.vocab_size, layers=info.layers)
        self.mark = Mark.none(setting.canvas.start_B)
        self.before = self._saved()

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Step on a copy of the canvas while some row has budget left."""
        scratch, found = start.canvas.snapshot(), []
        self.before = self._saved()
        resting_B = torch.zeros_like(scratch.done_B)
        for index in count():
            scratch.done_B = scratch.done_B | resting_B | (start.budget_B <= index)
            first = self.stepper.first(scratch, start.number, self.memory.values)
            view = self.stepper.view(first, self.mark)
            if not bool(view.live_B.any()):
                break
            noise = Noise(self.stepper.seed, scratch.samples_B, start.number * STRIDE + index)
            view, prediction = self.stepper.predict(attrs.evolve(view, noise=noise))
            if self.told is not None and self.recall:
                prediction = reminded(prediction, view, self.told, self.recall, self.stepper.needs)
            outcome = self.stepper.decide(view, prediction, scratch)
            self.memory.advance(outcome)
            self.mark = Mark.of(attrs.evolve(view, noise=first.noise)).where(view.live_B, self.mark)
            found.append(self._entries(outcome, index))
            going_B = start.schedule.goes_on(outcome, start)
            resting_B = resting_B if going_B is None else resting_B | ~going_B
            record = StepRecord.of(outcome, self.pipeline.model, self.session.counts)
            yield attrs.evolve(record, phase="draft")
        return _joined(found) if found else Draft.empty(len(resting_B), resting_B.device)

    def settle(self, result: RoundResult) -> None:
        """Return rows whose draft was not kept whole to where they were before it."""
        self.told = result.step
        lost_B = ~result.whole_B
        self.mark = self.before.mark.where(lost_B, self.mark)
        self.memory.rewind(self.before.memory, lost_B)
        if self.session.store is not None and self.before.store is not None:
            self.session.store.rollback(self.before.store, lost_B)
        elif self.session.store is not None:
            self.session.store.invalidate(lost_B[:, None])

    def _saved(self) -> _Before:
        store = self.session.store
        return _Before(
            mark=self.mark,
            memory=self.memory.values,
            store=None if store is None else store.snapshot(),
        )

    def _entries(self, outcome: Outcome, index: int) -> Draft:
        """What a step decided, as one node."""
        commit_BP = outcome.commit_BP
        width = int(commit_BP.sum(dim=1).amax())
        order_BE = commit_BP.int().argsort(dim=1, descending=True, stable=True)[:, :width]
        tokens_BP, laws_BPV = outcome.proposals_BP, None
        law_BPV = self.pipeline.sample.law(outcome.prediction, outcome.view)
        logp_BP = outcome.prediction.logp_of(tokens_BP)
        if law_BPV is not None:
            logp_BP = law_BPV.gather(-1, tokens_BP[..., None])[..., 0]
        if self.laws:
            laws_BPV = law_BPV
        if self.laws and law_BPV is None and outcome.prediction.logits_BPV is not None:
            laws_BPV = outcome.prediction.logits_BPV.double().log_softmax(dim=-1)
        return Draft(
            position_BE=outcome.view.positions_BP.gather(1, order_BE),
            token_BE=tokens_BP.gather(1, order_BE),
            node_BE=torch.full_like(order_BE, index),
            valid_BE=commit_BP.gather(1, order_BE),
            parent_BD=torch.full_like(order_BE[:, :1], index - 1),
            logp_BE=logp_BP.double().gather(1, order_BE),
            law_BEV=None if laws_BPV is None else _taken(laws_BPV, order_BE),
        )


def _taken(law_BPV: Tensor, order_BE: Tensor) -> Tensor:
    return law_BPV.gather(1, order_BE[..., None].expand(-1, -1, law_BPV.shape[-1]))


def _joined(steps: list[Draft]) -> Draft:
    """A chain of the steps' nodes."""
    laws = [step.law_BEV for step in steps if step.law_BEV is not None]
    return Draft(
        position_BE=torch.cat([step.position_BE for step in steps], dim=1),
        token_BE=torch.cat([step.token_BE for step in steps], dim=1),
        node_BE=torch.cat([step.node_BE for step in steps], dim=1),
        valid_BE=torch.cat([step.valid_BE for step in steps], dim=1),
        parent_BD=torch.cat([step.parent_BD for step in steps], dim=1),
        logp_BE=torch.cat([step.logp_BE for step in steps if step.logp_BE is not None], dim=1),
        law_BEV=torch.cat(laws, dim=1) if laws else None,
    )
