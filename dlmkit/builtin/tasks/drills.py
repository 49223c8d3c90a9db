"""Drills: equations such as word problems need, without their stories, for training only.

A word problem holds two equations among fifty tokens; a drill of the same length holds seven, so
that arithmetic is practised often enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["EQUATIONS", "drill"]

EQUATIONS = 7
"""Equations in one drill."""


def drill(rng: random.Random) -> str:
    """Lines like `26-5=21`, in the number ranges of word problems."""
    return "\n".join(_equation(rng) for _ in range(EQUATIONS))


def _equation(rng: random.Random) -> str:
    kind = rng.choice("++--*")
    if kind == "*":
        left, right = rng.randint(2, 9), rng.randint(2, 9)
        return f"{left}*{right}={left * right}"
    if kind == "+":
        left, right = rng.randint(1, 60), rng.randint(1, 25)
        return f"{left}+{right}={left + right}"
    paid = rng.random() < 0.2
    left = rng.choice((20, 50, 100)) if paid else rng.randint(2, 80)
    right = rng.randint(1, min(90 if paid else 25, left))
    return f"{left}-{right}={left - right}"
