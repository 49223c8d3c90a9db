"""A row of the canvas as styled text: given, settled, just decided, or still masked.

Where a drafter and a verifier share the work: what was drafted, and what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

import attrs
from rich.text import Text

__all__ = ["RowState", "legend", "row_bar", "row_text"]

_STYLES = {
    "given": "dim",
    "settled": "",
    "recent": "green",
    "fresh": "bold bright_green",
    "masked now": "grey62",
    "masked": "grey30",
    "end": "grey30",
}
_MARKS = {
    "drafted": "italic yellow",
    "kept": "bold bright_green",
    "corrected": "bold bright_magenta",
    "sent back": "red strike",
    "verifier's own": "bold bright_cyan",
}
_MASK, _END = "░░", "·"


@attrs.frozen(kw_only=True)
class RowState:
    """One row, read from the device: ids, which are given, and the step that decided each.

    `block` is the current block as (start, stop); `span` is what is being decoded.  `marks` names
    what a round of drafting and verifying did to a place.
    """

    ids: Sequence[int]
    given: Sequence[bool]
    steps: Sequence[int]
    span: tuple[int, int]
    block: tuple[int, int]
    block_width: int
    mask_id: int
    end_ids: frozenset[int]
    marks: Mapping[int, str] = attrs.field(factory=dict)

    @property
    def masks_left(self) -> int:
        """Positions that are not decided yet."""
        return sum(
            self.is_masked(place) or self.marks.get(place) in ("drafted", "sent back")
            for place in range(*self.span)
        )

    @property
    def masks_at_start(self) -> int:
        """Positions that had to be decided."""
        return sum(not self.given[place] for place in range(*self.span))

    @property
    def block_number(self) -> tuple[int, int]:
        """The current block, counted from 1, and how many there are."""
        start, stop = self.span
        width = max(self.block_width, 1)
        return (self.block[0] - start) // width + 1, -(-(stop - start) // width)

    def kind(self, place: int, fresh_from: int, recent_from: int) -> str:
        """How a position is shown; steps from `fresh_from` on are new."""
        if place in self.marks:
            return self.marks[place]
        if self.is_masked(place):
            return "masked now" if self.block[0] <= place < self.block[1] else "masked"
        if self.given[place]:
            return "given"
        if self.ids[place] in self.end_ids:
            return "end"
        if self.steps[place] >= fresh_from:
            return "fresh"
        return "recent" if self.steps[place] >= recent_from else "settled"

    def is_masked(self, place: int) -> bool:
        """Whether no token stands there."""
        return self.ids[place] == self.mask_id and not self.given[place]


def row_text(
    row: RowState, decode: Callable[[Sequence[int]], str], fresh_from: int, recent_from: int
) -> Text:
    """Return the row between the ends of its span, one style for each kind of position."""
    text = Text()
    for kind, places in _runs(row, fresh_from, recent_from):
        style = _MARKS.get(kind) or _STYLES[kind]
        for glyph, run in groupby(places, lambda place: _glyph(row, place)):
            ids = [row.ids[place] for place in run]
            text.append(glyph * len(ids) if glyph else decode(ids), style)
    return text


def _runs(row: RowState, fresh_from: int, recent_from: int) -> Iterator[tuple[str, list[int]]]:
    places = range(*row.span)
    for kind, run in groupby(places, lambda place: row.kind(place, fresh_from, recent_from)):
        yield kind, list(run)


def _glyph(row: RowState, place: int) -> str:
    """What stands for a place without text; empty where it has text."""
    if row.is_masked(place):
        return _MASK
    return _END if row.ids[place] in row.end_ids and not row.given[place] else ""


def legend() -> Text:
    """What the styles of drafts mean."""
    return Text(" · ", "dim").join(Text(name, style) for name, style in _MARKS.items())


def row_bar(row: RowState, width: int = 20) -> Text:
    """Return how far the row is: a bar, decided and wanted positions, the block."""
    wanted = row.masks_at_start
    decided = wanted - row.masks_left
    filled = width * decided // max(wanted, 1)
    number, blocks = row.block_number
    block = f" · block {number}/{blocks}" if blocks > 1 else ""
    return Text.assemble(
        ("━" * filled, "green"),
        ("─" * (width - filled), "grey30"),
        (f" {decided}/{wanted}{block}", "dim"),
    )
