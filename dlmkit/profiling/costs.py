"""The cost of a forward pass: measured at some shapes, estimated between them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from math import exp, log

import attrs

from dlmkit.errors import RequestError

__all__ = ["CostTable", "Shape"]

Shape = tuple[int, int]
"""Rows of a pass, and positions fed in each of them."""


def _measured(table: CostTable, attribute: object, value: Mapping[Shape, float]) -> None:
    complete = {(rows, fed) for rows in table.rows for fed in table.fed}
    if not value or complete != set(value) or min(value.values()) <= 0:
        raise RequestError(
            "a cost table needs a positive time for every pair of its rows and fed positions",
            hint="measure again with `dlmkit profile`",
        )


@attrs.frozen
class CostTable:
    """Seconds of one pass of a network at each measured shape, a complete grid.

    Between two shapes the logarithm of the time is linear in the logarithms of rows and of fed
    positions.  Beyond the largest shape time grows in proportion; below the smallest it stays.
    """

    seconds: Mapping[Shape, float] = attrs.field(validator=_measured)

    @property
    def rows(self) -> list[int]:
        """The measured numbers of rows, ascending."""
        return sorted({rows for rows, _ in self.seconds})

    @property
    def fed(self) -> list[int]:
        """The measured numbers of fed positions, ascending."""
        return sorted({fed for _, fed in self.seconds})

    def of(self, rows: int, fed: int) -> float:
        """Seconds of a pass of that shape."""
        row_shares, fed_shares = _shares(self.rows, rows), _shares(self.fed, fed)
        inside = sum(
            row_share * fed_share * log(self.seconds[near_rows, near_fed])
            for near_rows, row_share in row_shares.items()
            for near_fed, fed_share in fed_shares.items()
        )
        return exp(inside) * _beyond(self.rows, rows) * _beyond(self.fed, fed)

    def total(self, shapes: Mapping[Shape, int]) -> float:
        """Seconds of all passes: how many there were of each shape."""
        return sum(count * self.of(*shape) for shape, count in shapes.items())


def _shares(known: list[int], wanted: int) -> dict[int, float]:
    """The measured neighbours of a size, and how much each says about it."""
    place = bisect_left(known, wanted)
    if place == len(known) or place == 0 or known[place] == wanted:
        return {known[min(place, len(known) - 1)]: 1.0}
    low, high = known[place - 1], known[place]
    share = (log(wanted) - log(low)) / (log(high) - log(low))
    return {low: 1 - share, high: share}


def _beyond(known: list[int], wanted: int) -> float:
    return max(1.0, wanted / known[-1])
