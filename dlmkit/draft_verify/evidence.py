"""Evidence: what one pass of the verifier says about a draft.

Legend: B rows, N canvas positions, P window positions, E entries, X states fed, V vocabulary.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.picking import either, stacked
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.outcome import Outcome
from dlmkit.passes.variants import places
from dlmkit.prediction import Prediction
from dlmkit.view import View

if TYPE_CHECKING:
    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.roles import Look

__all__ = ["Evidence"]


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Evidence:
    """A pass of the verifier over the states of a look.

    `root` is the view of the canvas that stands; `view` and `prediction` belong to the pass, with
    one row for each state, and `before` says where the verifier's own decode was just before it.
    `hidden` is what the shadow of each entry predicts, where it has one.
    """

    draft: Draft
    look: Look
    stepper: Stepper
    root: View
    view: View
    prediction: Prediction
    before: Mark
    hidden: Prediction | None = None

    def with_shadows(self, shadow: Prediction | None) -> Evidence:
        """The same evidence with what shadows predict, of the window or of the entries."""
        if shadow is not None and self.look.whole_block:
            shadow = places(shadow, *self._found[:2])
        return attrs.evolve(self, hidden=shadow)

    @property
    def canvas(self) -> Canvas:
        """What stands."""
        return self.root.canvas

    @property
    def states(self) -> int:
        """States of each row."""
        return self.look.tokens_BXN.shape[1]

    @cached_property
    def entry(self) -> Prediction:
        """The prediction that rates each entry, `[B, E]`; meaningless where it is not rated."""
        return self.hidden or places(self.prediction, *self._found[:2])

    def at(self, state_BE: Tensor, position_BE: Tensor) -> tuple[Prediction, Tensor]:
        """What the pass says of these positions in these states, and where it does, bool."""
        row_BE, column_BE, found_BE = self._find(self._row(state_BE), position_BE)
        return places(self.prediction, row_BE, column_BE), found_BE

    @property
    def rated_BE(self) -> Tensor:
        """Entries that the pass predicts, bool; those outside its window are not."""
        return self._found[2] & self.draft.valid_BE

    @cached_property
    def entry_view(self) -> View:
        """A window made of the entries, on the canvas that stands."""
        return attrs.evolve(
            self.root,
            positions_BP=self.draft.position_BE,
            inside_BP=self.draft.valid_BE,
            predicted_BP=self.rated_BE,
            open_BP=None,
            in_block_BP=None,
        )

    @cached_property
    def choice_BE(self) -> Tensor:
        """The verifier's own token for each entry, int64."""
        return self.stepper.pipeline.sample.propose(self.entry, self.entry_view)

    @cached_property
    def law_BEV(self) -> Tensor | None:
        """Log-probabilities of the tokens that the verifier would write; None: it is certain."""
        return self.stepper.pipeline.sample.law(self.entry, self.entry_view)

    @property
    def next_BXN(self) -> Tensor:
        """The canvas after the verifier's own step from each state."""
        return self._moves[0]

    @property
    def ended_BX(self) -> Tensor:
        """Whether that step ended the row, bool."""
        return self._moves[1]

    def state_B(self, tokens_BN: Tensor) -> Tensor:
        """The state that this canvas is, int64; -1: it was not shown.

        Under causal attention what stands to the right of the first mask does not count.
        """
        equal_BXN = self.look.tokens_BXN == tokens_BN[:, None]
        if self.look.entries == "causal":
            behind_BN = (tokens_BN == self.canvas.mask_id).cumsum(dim=1) > 0
            equal_BXN = equal_BXN | behind_BN[:, None]
        same_BX = equal_BXN.all(dim=2)
        return torch.where(same_BX.any(dim=1), same_BX.int().argmax(dim=1), -1)

    def fed(self, tokens_BN: Tensor) -> tuple[Tensor, Tensor]:
        """The state nearest to this canvas, `tokens_BN`, and its row of the pass, `row_B`.

        That is the very state where it was shown, else the first.
        """
        state_B = self.state_B(tokens_BN).clamp_min(0)
        index_B1N = state_B[:, None, None].expand(-1, 1, tokens_BN.shape[1])
        return self.look.tokens_BXN.gather(1, index_B1N)[:, 0], self._row(state_B)

    def tapped(self, prediction: Prediction, row_B: Tensor) -> Prediction:
        """The prediction, with what attention saw in these rows of the pass."""
        taps = self.prediction.taps
        return prediction if taps is None else attrs.evolve(prediction, taps=taps.rows(row_B))

    def place(self, tokens_BN: Tensor) -> tuple[Mark, Tensor]:
        """Where the verifier was just before it came to this canvas, and whether it ended there.

        A canvas that was not shown counts as one step from the one that stands.
        """
        state_B = self.state_B(tokens_BN)
        past, ended_B = Mark.of(self.root), self._ended(tokens_BN)
        if self.look.before_BX is None:
            return past, ended_B
        shown_B, state_B = state_B >= 0, state_B.clamp_min(0)
        parent_B = self.look.before_BX.gather(1, state_B[:, None])[:, 0]
        shown_B = shown_B & (parent_B >= 0)
        ends_B = self.ended_BX.gather(1, parent_B.clamp_min(0)[:, None])[:, 0]
        past = self.before.rows(self._row(state_B)).where(shown_B, past)
        return past, torch.where(shown_B, ends_B, ended_B)

    def _ended(self, tokens_BN: Tensor) -> Tensor:
        """Whether the verifier's stop rules end a row at this canvas, bool."""
        canvas = self.canvas.snapshot()
        canvas.tokens_BN = tokens_BN
        view = self.root.after(canvas)
        rows = [rule.stop(view) for rule in self.stepper.pipeline.stop]
        return torch.stack([torch.zeros_like(canvas.done_B), *rows]).any(dim=0)

    def step_on(self, canvas: Canvas) -> tuple[Outcome, Mark]:
        """Take the verifier's own step on a canvas that holds part of the draft, and say where.

        It is decided on the prediction of that very state where it was shown; else on that of
        the first state, without the entries that stood in plain sight there.
        """
        state_B = self.state_B(canvas.tokens_BN)
        row_B = self._row(state_B.clamp_min(0))
        first = self.stepper.first(canvas, self.root.step, self.root.memory)
        view = self.stepper.view(first, self.before.rows(row_B))
        row_BP, column_BP, predicted_BP = self._find(row_B[:, None], view.positions_BP)
        prediction = places(self.prediction, row_BP, column_BP)
        drafted_BP = self._drafted(view) & (state_B < 0)[:, None]
        if self.hidden is not None:
            prediction = either(drafted_BP, self._hidden_at(self.hidden, view), prediction)
        elif self.look.entries == "seen":
            predicted_BP = predicted_BP & ~drafted_BP
        # Where the cache has to be renewed first, nothing is known yet.
        moved_B = (canvas.tokens_BN != self.canvas.tokens_BN).any(dim=1)
        early_B = moved_B & self.stepper.renews_B(view)
        view = attrs.evolve(view, predicted_BP=predicted_BP & ~early_B[:, None])
        return self.stepper.decide(view, prediction, canvas), Mark.of(view)

    @cached_property
    def _moves(self) -> tuple[Tensor, Tensor]:
        canvas = stacked(self.canvas, self.look.tokens_BXN)
        outcome = self.stepper.decide(self.view, self.prediction, canvas)
        next_BXN = outcome.after_BN.reshape(self.look.tokens_BXN.shape)
        return next_BXN, canvas.done_B.reshape(-1, self.states)

    @cached_property
    def _found(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._find(self._row(self.look.rates_BE), self.draft.position_BE)

    def _row(self, state: Tensor) -> Tensor:
        """The row of the pass that holds a state of each row, for `state_B` or `state_BE`."""
        first_B = torch.arange(len(state), device=state.device) * self.states
        return state + first_B.reshape(-1, *[1] * (state.ndim - 1))

    def _find(self, row_BE: Tensor, position_BE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the pass predicts these positions in these rows: row, column, and whether."""
        row_BE, window = row_BE.expand_as(position_BE), self.view.positions_BP.shape[1]
        column_BE = position_BE - self.view.positions_BP[:, 0][row_BE]
        found_BE = (column_BE >= 0) & (column_BE < window)
        column_BE = column_BE.clamp(0, window - 1)
        found_BE = found_BE & self.view.inside_BP[row_BE, column_BE]
        if self.view.predicted_BP is not None:
            found_BE = found_BE & self.view.predicted_BP[row_BE, column_BE]
        return row_BE, column_BE, found_BE

    def _hidden_at(self, hidden: Prediction, view: View) -> Prediction:
        """What the shadows of entries predict, at the positions of a window that have one."""
        every_BE, columns = self.draft.valid_BE, view.tokens_BN.shape[1]
        entry_BP = self.draft.first_at(every_BE, columns).gather(1, view.positions_BP)
        row_B1 = torch.arange(len(entry_BP), device=entry_BP.device)[:, None]
        return places(hidden, row_B1, entry_BP.clamp_max(every_BE.shape[1] - 1))

    def _drafted(self, view: View) -> Tensor:
        drafted_BN = self.draft.marks(self.draft.valid_BE, view.tokens_BN.shape[1])
        return drafted_BN.gather(1, view.positions_BP)
