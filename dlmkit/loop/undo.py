"""Taking a step back: what a step replaces, held until it is known whether the step stands.

Legend: B rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.loop.place import Place
from dlmkit.passes.session import SavedSession

if TYPE_CHECKING:
    from dlmkit.loop.run import Run

__all__ = ["Saved"]


@attrs.frozen(kw_only=True, eq=False)
class Saved:
    """A run before a step; steps put new tensors in the place of old ones, so these stay."""

    canvas: Canvas
    memory: Mapping[int, Mapping[str, Tensor]]
    place: Place | None
    session: SavedSession
    number: int
    held_B: Tensor | None
    stuck_B: Tensor | None

    @classmethod
    def of(cls, run: Run) -> Saved:
        """What a step of a run replaces, as it is now."""
        return cls(
            canvas=run.canvas.snapshot(),
            memory=run.memory.values,
            place=run.tracker.place,
            session=run.session.saved(),
            number=run.number,
            held_B=run.held_B,
            stuck_B=run.stuck_B,
        )

    def restore(self, run: Run) -> None:
        """Let the run stand as it did; its passes since then were in vain, and count as such."""
        run.next_look = None
        run.session.wasted += run.session.counts.since(self.session.counts).forwards
        run.canvas.become(self.canvas)
        run.memory.return_to(self.memory)
        run.tracker.place = self.place
        run.session.return_to(self.session)
        run.number, run.held_B, run.stuck_B = self.number, self.held_B, self.stuck_B
