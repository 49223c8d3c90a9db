"""The Python form of combinators: `a | b` and `a & b`."""

from __future__ import annotations

from typing import Any

from dlmkit.combinators.exits import IntersectExit, UnionExit
from dlmkit.combinators.stops import IntersectStop, UnionStop
from dlmkit.combinators.transfers import IntersectTransfer, UnionTransfer
from dlmkit.component import Component

__all__ = ["intersect", "union"]

UNIONS: dict[str, Any] = {"exit": UnionExit, "stop": UnionStop, "transfer": UnionTransfer}
INTERSECTIONS: dict[str, Any] = {
    "exit": IntersectExit,
    "stop": IntersectStop,
    "transfer": IntersectTransfer,
}


def union(left: Component, right: Any) -> Any:
    """Return the union of two rules of one role; NotImplemented where there is none."""
    return _combine(UNIONS, left, right)


def intersect(left: Component, right: Any) -> Any:
    """Return the intersection of two rules of one role; NotImplemented where there is none."""
    return _combine(INTERSECTIONS, left, right)


def _combine(table: dict[str, Any], left: Component, right: Any) -> Any:
    cls = table.get(left.role)
    if cls is None or not isinstance(right, Component) or right.role != left.role:
        return NotImplemented
    return cls(of=(*_members(cls, left), *_members(cls, right)))


def _members(cls: Any, side: Any) -> tuple[Any, ...]:
    """Open a combination of the same kind, so that `a | b | c` has three members."""
    return side.of if isinstance(side, cls) and side == cls(of=side.of) else (side,)
