"""Work that is not done again while it is about the very same objects.

Steps inside a block differ in tokens and in little else: where they feed and what they see was
worked out in the step before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["Kept"]

Value = TypeVar("Value")


class Kept:
    """The last result for each name, with the objects that it was made of.

    Tensors are compared by identity, which reads none of them; so nobody may change one in place.
    """

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[tuple[Any, ...], Any]] = {}

    def of(self, name: Hashable, parts: tuple[Any, ...], work: Callable[[], Value]) -> Value:
        """What `work` returns for these parts, done only if they are not those of last time."""
        last = self._last.get(name)
        if last is not None and _same(last[0], parts):
            found: Value = last[1]
            return found
        found = work()
        self._last[name] = parts, found
        return found


def _same(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    """Written out: every step asks this a dozen times."""
    for old, new in zip(before, now, strict=True):
        if old is not new and not (type(old) is int and old == new):
            return False
    return True
