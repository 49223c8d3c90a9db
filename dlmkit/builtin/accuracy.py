"""Exact-match accuracy per task and operation, with its 95 % interval."""

from __future__ import annotations

from itertools import islice
from math import sqrt
from typing import TYPE_CHECKING

import attrs

from dlmkit.builtin.tasks import TASKS, Example, draw

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Accuracy", "held_out", "wilson_interval"]


def held_out(task: str, count: int, seed: int) -> list[Example]:
    """Evaluation examples of a task: none of their texts can occur in training."""
    source = draw(TASKS[task], f"evaluate {seed} {task}", held_out=True)
    return list(islice(source, count))


@attrs.frozen
class Accuracy:
    """How many of `total` examples were solved exactly."""

    solved: int
    total: int

    @classmethod
    def of(cls, examples: Sequence[Example], completions: Sequence[str]) -> Accuracy:
        """Count the completions that solve their example."""
        pairs = zip(examples, completions, strict=True)
        return cls(sum(example.solved_by(text) for example, text in pairs), len(examples))

    @property
    def rate(self) -> float:
        """The share solved, between 0 and 1."""
        return self.solved / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the 95 % Wilson score interval of the rate."""
        return wilson_interval(self.solved, self.total)


def wilson_interval(solved: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927)."""
    rate, spread = solved / total, z * z / total
    centre = (rate + spread / 2) / (1 + spread)
    half = z * sqrt(rate * (1 - rate) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
