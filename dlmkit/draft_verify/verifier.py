"""The verifier at work: its pipeline, one pass over several states, and its place in each row.

Legend: B rows, N canvas positions, P window positions, X states fed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.evidence import Evidence
from dlmkit.draft_verify.picking import stacked
from dlmkit.draft_verify.roles import Look
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.memory import Memory
from dlmkit.outcome import Outcome
from dlmkit.store import Store
from dlmkit.view import View

if TYPE_CHECKING:
    from dlmkit.records import Counts

__all__ = ["Verifier"]


@attrs.define(eq=False)
class Verifier:
    """Runs the verifier's pipeline; `past` says where each row's own decode was last.

    A pass works on copies of the cache, one for each state that it is shown.  The copy of the
    state that a round led to becomes the cache, so there is nothing to take back.
    """

    stepper: Stepper
    past: Mark
    memory: Memory

    @classmethod
    def begin(cls, stepper: Stepper, canvas: Canvas) -> Verifier:
        """A verifier that has not seen the canvas yet."""
        info = stepper.session.info
        memory = Memory(stepper.pipeline, canvas, info.vocab_size, layers=info.layers)
        return cls(stepper, Mark.none(canvas.start_B), memory)

    @property
    def counts(self) -> Counts:
        """What its network has executed so far."""
        return self.stepper.session.counts

    def root(self, canvas: Canvas, number: int) -> View:
        """The view of the canvas as it stands."""
        first = self.stepper.first(canvas, number, self.memory.values)
        return self.stepper.view(first, self.past)

    def examine(self, draft: Draft, look: Look, canvas: Canvas, number: int) -> Evidence:
        """Run one pass over every state of the look."""
        root, times = self.root(canvas, number), look.tokens_BXN.shape[1]
        row_S = torch.arange(times * len(canvas.start_B), device=canvas.start_B.device) // times
        memory = {
            owner: {name: value[row_S] for name, value in fields.items()}
            for owner, fields in self.memory.values.items()
        }
        first = self.stepper.first(stacked(canvas, look.tokens_BXN), number, memory)
        before = self._before(look, first, row_S)
        view = self.stepper.view(first, before)
        if look.before_BX is None:
            view = attrs.evolve(root, canvas=view.canvas, open_BP=None)
        stepper = self._branched(look, row_S)
        # A state without masks is looked at too, if its row is still decoded.
        view, prediction = stepper.predict(attrs.evolve(view, held_B=root.live_B[row_S]))
        view = attrs.evolve(view, held_B=None)
        return Evidence(
            draft=draft,
            look=look,
            stepper=stepper,
            root=root,
            view=view,
            prediction=prediction,
            before=before,
        )

    def settle(self, evidence: Evidence, written_BN: Tensor, step: Outcome) -> None:
        """Keep what the pass stored and remembered of the state that a round led to.

        `written_BN` is the canvas with what stands of the draft, `step` what was decided on it.
        """
        fed_BN, row_B = evidence.fed(written_BN)
        store = evidence.stepper.session.store
        if store is not None:
            kept = Store(room=store.room, tag_BN=store.tag_BN)
            kept.reorder(row_B)
            self.stepper.session.store = kept
        canvas = evidence.canvas.snapshot()
        canvas.tokens_BN = fed_BN
        view = self.stepper.first(canvas, evidence.root.step, self.memory.values)
        view = self.stepper.view(view, evidence.before.rows(row_B))
        view = attrs.evolve(view, held_B=evidence.root.live_B)
        self.memory.advance(attrs.evolve(step, view=view, before_BN=fed_BN))

    def _branched(self, look: Look, row_S: Tensor) -> Stepper:
        """The stepper with a copy of the cache for each state of the look."""
        session, store = self.stepper.session.sibling(), self.stepper.session.store
        if store is not None:
            session.store = Store(room=store.room, tag_BN=store.tag_BN)
            session.store.reorder(row_S)
        # Shadows cost a fed position each, and say nothing where nothing is drafted.
        need = attrs.evolve(self.stepper.need, shadow=look.entries == "hidden")
        return attrs.evolve(self.stepper, session=session, need=need)

    def _before(self, look: Look, first: View, row_S: Tensor) -> Mark:
        """Where the verifier was just before each state, in the order of the pass's rows."""
        before, times = self.past.rows(row_S), look.tokens_BXN.shape[1]
        if look.before_BX is None:
            return before
        parent_S = look.before_BX.flatten()
        source_S = row_S * times + parent_S.clamp_min(0)
        for _ in range(times - 1):  # each turn settles the states one step further on
            before = before.next(first).rows(source_S).where(parent_S >= 0, before)
        return before
