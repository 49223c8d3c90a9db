"""The verifier at work: its pipeline, one pass over several states, and its place in each row.

Legend: B rows, N canvas positions, P window positions, X states fed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.evidence import Evidence
from dlmkit.draft_verify.picking import stacked
from dlmkit.draft_verify.roles import Look
from dlmkit.draft_verify.stepper import Mark, Stepper
from dlmkit.view import View

if TYPE_CHECKING:
    from dlmkit.records import Counts

__all__ = ["Verifier"]


@attrs.define(eq=False)
class Verifier:
    """Runs the verifier's pipeline; `past` says where each row's own decode was last."""

    stepper: Stepper
    past: Mark

    @property
    def counts(self) -> Counts:
        """What its network has executed so far."""
        return self.stepper.session.counts

    def root(self, canvas: Canvas, number: int) -> View:
        """The view of the canvas as it stands."""
        return self.stepper.view(self.stepper.first(canvas, number), self.past)

    def examine(self, draft: Draft, look: Look, canvas: Canvas, number: int) -> Evidence:
        """Run one pass over every state of the look."""
        root = self.root(canvas, number)
        first = self.stepper.first(stacked(canvas, look.tokens_BXN), number)
        before = self._before(look, first)
        view = self.stepper.view(first, before)
        if look.before_BX is None:
            view = attrs.evolve(root, canvas=view.canvas, masked_BP=None, held_B=root.live_B)
        view, prediction = self._without_idle_shadows(look).predict(view)
        return Evidence(
            draft=draft,
            look=look,
            stepper=self.stepper,
            root=root,
            view=view,
            prediction=prediction,
            before=before,
        )

    def _without_idle_shadows(self, look: Look) -> Stepper:
        """Shadows cost a fed position each, and say nothing where nothing is drafted."""
        need = attrs.evolve(self.stepper.need, shadow=look.entries == "hidden")
        return attrs.evolve(self.stepper, need=need)

    def _before(self, look: Look, first: View) -> Mark:
        """Where the verifier was just before each state, in the order of the pass's rows."""
        times = look.tokens_BXN.shape[1]
        row_S = torch.arange(len(first.tokens_BN), device=first.tokens_BN.device)
        before = self.past.rows(row_S // times)
        if look.before_BX is None:
            return before
        parent_S = look.before_BX.flatten()
        source_S = row_S // times * times + parent_S.clamp_min(0)
        for _ in range(times - 1):  # each turn settles the states one step further on
            before = before.next(first).rows(source_S).where(parent_S >= 0, before)
        return before
