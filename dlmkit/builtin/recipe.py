"""The recipes of the built-in models: what was practised when, and at which learning rate.

They are what the model card tells, as data.  A stage goes on where the one before ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from dlmkit.builtin import CheckpointName
    from dlmkit.builtin.tasks import Example

__all__ = ["LATEST", "RECIPES", "Mixture", "Rate", "Stage", "usual_rate"]

WARM_UP = 200
PLATEAU_SHARE = 1 / 3
"""Share of the steps at the peak learning rate."""


@attrs.frozen(kw_only=True)
class Mixture:
    """What batches are made of.

    `tasks` are the shares of the tasks among the examples; the rest are drills.  `kept` is the
    share that is kept of the examples of a kind (absent: all), so that the hard ones are practised
    more; of the kinds in `no_numbers` those with two-digit numbers are left out.  `canvases` says
    which share of the batches has at least which canvas length; the rest end after the text.
    """

    tasks: Mapping[str, float]
    canvases: tuple[tuple[float, int], ...]
    kept: Mapping[str, float] = attrs.field(factory=dict)
    no_numbers: frozenset[str] = frozenset()

    def admits(self, example: Example, chance: float) -> bool:
        """Whether an example is practised, by a number drawn between 0 and 1."""
        words = example.prompt.split()
        numbers = any(len(word) > 1 and word.isdigit() for word in words)
        if numbers and example.kind in self.no_numbers:
            return False
        return chance < self.kept.get(example.kind, 1.0)


@attrs.frozen
class Rate:
    """A learning rate as a share of its peak: warm-up, plateau, a drop, linear decay to nothing."""

    plateau: float
    end: int
    drop: float = 0.6

    def at(self, step: int) -> float:
        """The share at a step."""
        if step < self.plateau:
            return min(1.0, (step + 1) / WARM_UP)
        return max(0.0, self.drop * (self.end - step) / (self.end - self.plateau))


@attrs.frozen(kw_only=True)
class Stage:
    """A part of a run: up to the step `until`, on one mixture, at one rate."""

    until: int
    mixture: Mixture
    rate: Rate


def usual_rate(steps: int) -> Rate:
    """The rate of a run that is planned for so many steps."""
    return Rate(PLATEAU_SHARE * steps, steps)


def _canvases(short: float, middle: float, long: float) -> tuple[tuple[float, int], ...]:
    return ((short, 32), (middle, 64), (long, 128))


def _tasks(words: float, lists: float, choice: float, infill: float) -> Mapping[str, float]:
    return {"word problems": words, "lists": lists, "choice": choice, "infill": infill}


FIRST = Mixture(tasks=_tasks(0.42, 0.40, 0.08, 0.10), canvases=_canvases(0.50, 0.07, 0.02))
SECOND = Mixture(tasks=_tasks(0.38, 0.40, 0.13, 0.09), canvases=_canvases(0.40, 0.05, 0.02))
DRILLED = Mixture(tasks=_tasks(0.24, 0.42, 0.06, 0.06), canvases=_canvases(0.25, 0.03, 0.01))
UNDRILLED = Mixture(
    tasks=_tasks(0.36, 0.57, 0.02, 0.05), canvases=_canvases(0.30, 0.04, 0.02), kept={"copy": 0.3}
)
LISTS_FIRST = Mixture(
    tasks=_tasks(0.16, 0.78, 0.02, 0.04),
    canvases=_canvases(0.20, 0.02, 0.01),
    kept={"copy": 0.15, "reverse": 0.15},
)
NO_NUMBERS = attrs.evolve(LISTS_FIRST, no_numbers=frozenset({"sort", "replace", "remove"}))
HARD_LISTS = attrs.evolve(
    NO_NUMBERS, kept={"copy": 0.15, "reverse": 0.15, "insert": 0.0, "replace": 0.0}
)
LATEST = Mixture(
    tasks=_tasks(0.22, 0.48, 0.08, 0.06),
    canvases=_canvases(0.25, 0.03, 0.01),
    kept={"copy": 0.2, "reverse": 0.35, "insert": 0.5, "replace": 0.7},
)

RECIPES: dict[CheckpointName, tuple[Stage, ...]] = {
    "verifier": (
        Stage(until=3000, mixture=FIRST, rate=usual_rate(14000)),
        Stage(until=5000, mixture=SECOND, rate=usual_rate(9000)),
        Stage(until=7000, mixture=DRILLED, rate=usual_rate(10000)),
        Stage(until=9000, mixture=UNDRILLED, rate=usual_rate(10500)),
        Stage(until=9900, mixture=UNDRILLED, rate=usual_rate(9900)),
        Stage(until=11200, mixture=LISTS_FIRST, rate=Rate(9900, 11900, 0.45)),
        Stage(until=13400, mixture=NO_NUMBERS, rate=Rate(9900, 13400, 0.45)),
        Stage(until=14000, mixture=HARD_LISTS, rate=Rate(13400, 14100, 0.2)),
        Stage(until=22000, mixture=LATEST, rate=usual_rate(22000)),
    ),
    "drafter": (
        Stage(until=2000, mixture=FIRST, rate=usual_rate(12000)),
        Stage(until=8000, mixture=SECOND, rate=usual_rate(9000)),
    ),
    "guide": (
        Stage(until=1000, mixture=DRILLED, rate=usual_rate(4000)),
        Stage(until=2600, mixture=UNDRILLED, rate=usual_rate(2600)),
    ),
}
"""The stages of every built-in checkpoint, in order."""
