"""Drafting the verifier's own next step, which is checked before it counts.

Legend: B rows, P window positions, E entries.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch

from dlmkit.accounts.records import StepRecord
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.outcome import Outcome

__all__ = ["OwnStep"]


@attrs.frozen
class OwnStep(Drafter):
    """What the verifier's pipeline would decide next, by the look that checked the last draft.

    A pass thus rates one draft and makes the next, with the same network.  Where the last look says
    nothing about what is next, in the first round and after a block, a pass of its own drafts.
    Source: WINO (arXiv:2507.18578), wide-in narrow-out.
    """

    name = "own-step"
    needs_view = frozenset({"loo"})

    def begin(self, setting: Setting) -> DraftRun:
        """Nothing has been looked at yet."""
        session = setting.context.session(setting.verifier.model).sibling()
        # Its own passes are few, and the verifier's cache is not told of them.
        pipeline = attrs.evolve(setting.verifier, cache=None)
        stepper = Stepper(pipeline, session, setting.context.seed)
        return _Steps(stepper, Mark.none(setting.canvas.start_B))


@attrs.define(eq=False)
class _Steps(DraftRun):
    """`past` is where each row's last step was, `next` what the last look comes to."""

    stepper: Stepper
    past: Mark
    next: Outcome | None = None

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """The step in hand; rows without one take part in a pass that finds it."""
        budget_B = start.budget_B > 0
        draft = self._entries(self.next, budget_B) if self.next is not None else None
        lacking_B = budget_B if draft is None else budget_B & ~draft.valid_BE.any(dim=1)
        if not bool(lacking_B.any()):
            return draft or Draft.empty(len(budget_B), budget_B.device)
        scratch = start.canvas.snapshot()
        scratch.done_B = scratch.done_B | ~lacking_B
        view = self.stepper.view(self.stepper.first(scratch, start.number), self.past)
        view, prediction = self.stepper.predict(view)
        outcome = self.stepper.decide(view, prediction, scratch)
        record = StepRecord.of(outcome, self.stepper.pipeline.model, self.stepper.session.counts)
        yield attrs.evolve(record, phase="draft")
        fresh = self._entries(outcome, lacking_B)
        return fresh if draft is None else _together(draft, fresh)

    def settle(self, result: RoundResult) -> None:
        """Decide the next step on what was seen, without taking it.

        What was sent back was not a mask in that look, so it waits for the next one.
        """
        canvas, draft = result.round.canvas.snapshot(), result.draft
        canvas.tokens_BN = result.after_BN
        outcome, mark = result.evidence.step_on(canvas)
        drafted_BN = draft.marks(draft.valid_BE, canvas.tokens_BN.shape[1])
        commit_BP = outcome.commit_BP & ~drafted_BN.gather(1, outcome.view.positions_BP)
        self.next = attrs.evolve(outcome, commit_BP=commit_BP)
        self.past = mark.where(commit_BP.any(dim=1), self.past)

    def _entries(self, outcome: Outcome, rows_B: torch.Tensor) -> Draft:
        """What a step decides in the chosen rows, as one node."""
        commit_BP = outcome.commit_BP & rows_B[:, None]
        zero_BP = torch.zeros_like(outcome.view.positions_BP)
        return Draft(
            position_BE=outcome.view.positions_BP,
            token_BE=outcome.proposals_BP,
            node_BE=zero_BP,
            valid_BE=commit_BP,
            parent_BD=zero_BP[:, :1] - 1,
            logp_BE=outcome.prediction.logp_of(outcome.proposals_BP),
        )


def _together(one: Draft, other: Draft) -> Draft:
    """Two drafts of different rows."""
    return Draft(
        position_BE=torch.cat((one.position_BE, other.position_BE), dim=1),
        token_BE=torch.cat((one.token_BE, other.token_BE), dim=1),
        node_BE=torch.cat((one.node_BE, other.node_BE), dim=1),
        valid_BE=torch.cat((one.valid_BE, other.valid_BE), dim=1),
        parent_BD=one.parent_BD,
    )
