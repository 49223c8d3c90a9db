"""The verifier at work: its pipeline, one pass over several states, and its place in each row.

Legend: B rows, N canvas positions, P window positions, X states fed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.dates import Dates
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.evidence import Evidence
from dlmkit.draft_verify.picking import stacked
from dlmkit.draft_verify.roles import Look
from dlmkit.draft_verify.side_by_side import foreseen, late
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.key_values.store import Store
from dlmkit.loop.memory import Memory, rows_of
from dlmkit.outcome import Outcome
from dlmkit.passes.branches import Branches
from dlmkit.passes.session import Session
from dlmkit.view import BlockSpan, View

if TYPE_CHECKING:
    from dlmkit.accounts.records import Counts
    from dlmkit.draft_verify.round import Round

__all__ = ["Verifier"]


@attrs.define(eq=False)
class Verifier:
    """Runs the verifier's pipeline; `past` says where each row's own decode was last.

    A pass works on copies of the cache, one for each state that it is shown.  The copy of the
    state that a round led to becomes the cache, so there is nothing to take back; of states in
    columns only what that one computed is stored.  An approximate cache that was shown something
    else stays as it was before the pass; `dates` are those of the passes that it has kept, `passes`
    counts all of them.
    """

    stepper: Stepper
    past: Mark
    memory: Memory
    dates: Dates
    passes: int = 0

    @classmethod
    def begin(cls, stepper: Stepper, canvas: Canvas) -> Verifier:
        """A verifier that has not seen the canvas yet."""
        info = stepper.session.info
        memory = Memory(stepper.pipeline, canvas, info.vocab_size, layers=info.layers)
        return cls(stepper, Mark.none(canvas.start_B), memory, Dates.of(canvas))

    @property
    def counts(self) -> Counts:
        """What its network has executed so far."""
        return self.stepper.session.counts

    def root(self, canvas: Canvas) -> View:
        """The view of the canvas as it stands."""
        canvas = self._dated(canvas, self.dates)
        first = self.stepper.first(canvas, self.passes, self.memory.values)
        return self.stepper.view(first, self.past)

    def renews_B(self, canvas: Canvas) -> Tensor:
        """Rows in which a look at the canvas renews an approximate cache, bool."""
        if self.stepper.approximation is None:
            return torch.zeros_like(canvas.done_B)
        return self.stepper.renews_B(self.root(canvas))

    def examine(self, draft: Draft, look: Look, canvas: Canvas) -> Evidence:
        """Run one pass over every state of the look."""
        root, row_S = self.root(canvas), _rows(look)
        view, before = self._shown(look, canvas)
        self.passes += 1
        if look.before_BX is None:
            view = attrs.evolve(root, canvas=view.canvas, open_BP=None)
        stepper = self._branched(look, row_S)
        # A state without masks is looked at too, if its row is still decoded.
        block, shown = view.block, attrs.evolve(view, held_B=root.live_B[row_S])
        if look.entries == "causal" or look.behind_BX is not None:
            wide = _widened(look, block, root.block.start_B[row_S], view.canvas)
            shown = attrs.evolve(shown, block=wide)  # all that was drafted is to be predicted
        view, prediction = stepper.predict(shown, _aside(draft, look, view))
        evidence = Evidence(
            draft=draft,
            look=look,
            stepper=stepper,
            root=root,
            view=attrs.evolve(view, held_B=None, block=block, in_block_BP=None),
            prediction=attrs.evolve(prediction, shadow=None),
            before=before,
        )
        return evidence.with_shadows(prediction.shadow)

    def within(self, draft: Draft, start: Round) -> Draft:
        """Without nodes that an approximate cache cannot be asked about yet."""
        cache = self.stepper.approximation
        if cache is None or not draft.nodes:
            return draft
        look = Look.of_states(draft, start)
        late_BD = late(cache, self._shown(look, start.canvas)[0], draft, look)
        return attrs.evolve(draft, valid_BE=draft.valid_BE & ~draft.of_nodes(late_BD))

    def _shown(self, look: Look, canvas: Canvas) -> tuple[View, Mark]:
        """The view of every state of a look, and where the verifier was just before it."""
        row_S, cache = _rows(look), self.stepper.approximation
        memory = rows_of(self.memory.values, row_S)
        states = self._dated(stacked(canvas, look.tokens_BXN), self.dates.rows(row_S))
        first = self.stepper.first(states, self.passes, memory)
        before = self._before(look, first, row_S)
        view = self.stepper.view(first, before)
        return view if cache is None else foreseen(cache, view, look), before

    def _dated(self, canvas: Canvas, dates: Dates) -> Canvas:
        return canvas if self.stepper.approximation is None else dates.dated(canvas, self.passes)

    def settle(self, evidence: Evidence, written_BN: Tensor, step: Outcome) -> None:
        """Keep what the pass stored and remembered of the state that a round led to.

        `written_BN` is the canvas with what stands of the draft, `step` what was decided on it.
        """
        fed_BN, row_B = evidence.fed(written_BN)
        stands_B = self._stands(evidence, written_BN)
        self.stepper.session.store = self._kept(evidence, row_B, stands_B)
        canvas = attrs.evolve(evidence.canvas, tokens_BN=fed_BN, masked=None)
        if self.stepper.approximation is not None:
            canvas = self.dates.dated(canvas, evidence.root.step)
        memory = rows_of(evidence.view.memory, row_B)
        view = self.stepper.first(canvas, evidence.root.step, memory)
        view = self.stepper.view(view, evidence.before.rows(row_B))
        view = attrs.evolve(view, held_B=evidence.root.live_B)
        step = attrs.evolve(step, prediction=evidence.tapped(step.prediction, row_B))
        before = self.memory.values
        self.memory.advance(attrs.evolve(step, view=view, before_BN=fed_BN))
        self.memory.rewind(before, ~stands_B)
        self.dates = Dates.of(canvas).where(stands_B, self.dates)

    def _stands(self, evidence: Evidence, written_BN: Tensor) -> Tensor:
        """Rows in which the cache keeps what it made of the nearest state, bool."""
        if self.stepper.approximation is None:
            return torch.ones_like(evidence.root.live_B)
        return (evidence.state_B(written_BN) >= 0) & evidence.root.live_B

    def _kept(self, evidence: Evidence, row_B: Tensor, stands_B: Tensor) -> Store | None:
        """What is stored after a pass: its copy where that stands, else what was before."""
        session, before = evidence.stepper.session, self.stepper.session.store
        rows = evidence.states * len(row_B)
        kept = session.stored_of(_every_variant(row_B, session.store, rows))
        if kept is None or self.stepper.approximation is None:
            return kept
        stands_B = stands_B.repeat(len(kept.tag_BN) // len(stands_B))
        if before is None:
            kept.invalidate(~stands_B[:, None])
        else:
            kept.rollback(before, ~stands_B)
        return kept

    def _branched(self, look: Look, row_S: Tensor) -> Stepper:
        """The stepper with a copy of the cache for each state of the look, or one for all."""
        base = self.stepper.session
        if look.columns:
            session: Session = Branches(base, look.tokens_BXN.shape[1])
        else:
            session = base.sibling()
            session.store = base.stored_of(_every_variant(row_S, base.store, len(look.tokens_BXN)))
        # Shadows cost a fed position each; those of the drafted positions alone are set aside.
        need = attrs.evolve(self.stepper.need, shadow=look.whole_block)
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


def _rows(look: Look) -> Tensor:
    """The row of the canvas that each state of a look belongs to, `row_S`."""
    rows, times = look.tokens_BXN.shape[:2]
    return torch.arange(rows * times, device=look.tokens_BXN.device) // times


def _widened(look: Look, block: BlockSpan, begin_S: Tensor, canvas: Canvas) -> BlockSpan:
    """The block of every state, from where that of its row begins, and what is asked behind it."""
    stop_S = block.stop_B
    if look.behind_BX is not None:
        stop_S = (stop_S + look.behind_BX.flatten()).minimum(canvas.length_B)
    return attrs.evolve(
        block, start_B=begin_S.minimum(block.start_B), stop_B=stop_S, width=canvas.region_width
    )


def _every_variant(row_R: Tensor, store: Store | None, rows: int) -> Tensor:
    """Some of so many rows, again for every variant that has stored rows of its own."""
    if store is None:
        return row_R
    starts = torch.arange(0, len(store.tag_BN), rows, device=row_R.device)
    return (starts[:, None] + row_R).flatten()


def _aside(draft: Draft, look: Look, view: View) -> View | None:
    """The window of the drafted positions, if each is to be predicted by a shadow of its own."""
    if look.entries != "hidden" or look.whole_block:
        return None
    return attrs.evolve(
        view,
        positions_BP=draft.position_BE,
        inside_BP=draft.valid_BE,
        predicted_BP=None,
        open_BP=None,
        in_block_BP=None,
    )
