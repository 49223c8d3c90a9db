"""What the combinators say about their members."""

from __future__ import annotations

from typing import Any

__all__ = ["CONDITION", "OTHERWISE", "THEN", "at_least_two"]

CONDITION = "where this applies: intervals of progress, block, step or row"
THEN = "what applies where the condition holds"
OTHERWISE = "what applies everywhere else"


def at_least_two(members: tuple[Any, ...]) -> str | None:
    """Require two members, without which there is nothing to combine."""
    return None if len(members) >= 2 else "must have at least two members"
