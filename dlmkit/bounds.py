"""Checks for options: each returns what is wrong with a value, or None."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlmkit.component import Check

__all__ = ["above", "at_least", "at_most", "below", "each", "increasing", "not_empty"]


def at_least(limit: float) -> Check:
    """Require a number of `limit` or more."""
    return lambda value: None if value >= limit else f"must be at least {limit}"


def at_most(limit: float) -> Check:
    """Require a number of `limit` or less."""
    return lambda value: None if value <= limit else f"must be at most {limit}"


def above(limit: float) -> Check:
    """Require a number greater than `limit`."""
    return lambda value: None if value > limit else f"must be greater than {limit}"


def below(limit: float) -> Check:
    """Require a number smaller than `limit`."""
    return lambda value: None if value < limit else f"must be smaller than {limit}"


def not_empty(value: Any) -> str | None:
    """Require at least one item or character."""
    return None if value else "must not be empty"


def increasing(values: Any) -> str | None:
    """Require that each item is greater than the one before."""
    ordered = all(low < high for low, high in itertools.pairwise(values))
    return None if ordered else "must be in increasing order"


def each(check: Check) -> Check:
    """Apply a check to every item of a list."""

    def check_all(values: Any) -> str | None:
        problems = (check(value) for value in values)
        first = next((problem for problem in problems if problem), None)
        return f"has an item that {first}" if first else None

    return check_all
