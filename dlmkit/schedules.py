"""Numbers that change while a text is decoded.

An option of type `float | Schedule` takes a number, or a mapping such as
`{schedule: linear, from: 0.95, to: 0.7, over: filled}`.

Legend: B rows.
"""

from __future__ import annotations

from abc import abstractmethod
from math import pi
from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.component import Component, option
from dlmkit.errors import StrategyError
from dlmkit.host.constants import constant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlmkit.view import View

__all__ = ["Cosine", "Exponential", "Linear", "Piecewise", "Schedule", "value_at"]

Over = Literal["filled", "steps"]
_FROM = "value at the beginning"
_TO = "value at the end"
_OVER = (
    "what moves it: `filled`, the share of the masks that are decided; `steps`, the share of the "
    "steps that are taken, where their number is fixed"
)


class Schedule(Component):
    """Base of schedules: a function of the part of the decode that is behind, 0 to 1."""

    role = "numeric-schedule"
    selector = "schedule"
    over: Over

    @abstractmethod
    def at(self, elapsed_B: Tensor) -> Tensor:
        """Return the value for each share in [0, 1], `value_B` float32."""


@attrs.frozen
class _Way(Schedule):
    """From one value to another; all else lies between them."""

    start: float = option(doc=_FROM, key="from")
    stop: float = option(doc=_TO, key="to")
    over: Over = option("filled", doc=_OVER)

    def checked_values(self) -> tuple[Any, ...]:
        """Both ends."""
        return (self.start, self.stop)


@attrs.frozen
class Linear(_Way):
    """A straight line from one value to another."""

    name = "linear"

    def at(self, elapsed_B: Tensor) -> Tensor:
        """Start + (stop - start) t."""
        return self.start + (self.stop - self.start) * elapsed_B


@attrs.frozen
class Cosine(_Way):
    """Half a cosine wave: slow at both ends, fast in the middle."""

    name = "cosine"

    def at(self, elapsed_B: Tensor) -> Tensor:
        """Stop + (start - stop) (1 + cos(pi t)) / 2."""
        return self.stop + (self.start - self.stop) * (1 + torch.cos(pi * elapsed_B)) / 2


@attrs.frozen
class Exponential(_Way):
    """A constant ratio per unit of time; both ends have the same sign and are not 0."""

    name = "exponential"

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse ends between which no ratio leads."""
        if options["start"] * options["stop"] <= 0:
            yield "stop", "`from` and `to` must have the same sign and not be 0", "use linear"

    def at(self, elapsed_B: Tensor) -> Tensor:
        """Start (stop / start)^t."""
        return self.start * (self.stop / self.start) ** elapsed_B


def _points(points: tuple[tuple[float, float], ...]) -> str | None:
    times = [time for time, _ in points]
    if not points or times[0] != 0:
        return "must start with a point at 0"
    if times != sorted(set(times)) or times[-1] > 1:
        return "must have rising times of 1 or less"
    return None


@attrs.frozen
class Piecewise(Schedule):
    """Stages: each value holds from its time until that of the next point."""

    name = "piecewise"

    points: tuple[tuple[float, float], ...] = option(
        doc="[time, value] pairs; times rise from 0 and are at most 1",
        check=_points,
        examples=([[0.0, 7.5], [0.33, 5.0], [0.67, 2.5]],),
    )
    over: Over = option("filled", doc=_OVER)

    def at(self, elapsed_B: Tensor) -> Tensor:
        """Value of the last point whose time has come."""
        columns = constant(self.points, elapsed_B.device).T.contiguous()
        times, values = columns.unbind(dim=0)
        return values[torch.searchsorted(times, elapsed_B, right=True) - 1]

    def checked_values(self) -> tuple[Any, ...]:
        """The value of every stage."""
        return tuple(value for _, value in self.points)


def value_at(value: float | Schedule, view: View) -> float | Tensor:
    """Return a number as it is, and a schedule's value now as `value_B1` float32.

    Raises:
        StrategyError: the schedule runs over steps and their number is not fixed.
    """
    if not isinstance(value, Schedule):
        return value
    return value.at(_elapsed_B(value.over, view))[:, None]


def _elapsed_B(over: Over, view: View) -> Tensor:
    if over == "filled":
        return view.progress_B
    planned_B = view.planned_steps_B
    if planned_B is None:
        raise StrategyError(
            "a schedule runs over steps, but the transfer rule does not fix their number",
            hint="write `over: filled`",
        )
    return (view.taken / planned_B.double()).clamp_max(1.0).to(view.progress_B.dtype)
