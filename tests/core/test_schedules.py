"""Schedules: numbers that follow the progress of a decode.

Legend: B rows.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.errors import StrategyError
from dlmkit.schedules import Cosine, Exponential, Linear, Piecewise, value_at

STAGES = Piecewise(((0.0, 7.5), (0.25, 5.0), (0.75, 2.5)))


def view(progress=(0.0, 0.5), step: int = 0, planned: int | None = None):
    """Two rows with their own progress."""
    planned_B = None if planned is None else torch.full((len(progress),), planned)
    return SimpleNamespace(progress_B=torch.tensor(progress), taken=step, planned_steps_B=planned_B)


def test_a_number_stays_a_number() -> None:
    """No tensor is made where none is needed."""
    assert 0.9 == value_at(0.9, view())


def test_each_row_has_its_own_value() -> None:
    """A row's schedule follows the row's progress, not the batch's."""
    value_B1 = value_at(Linear(start=1.0, stop=0.5), view())
    assert (2, 1) == tuple(value_B1.shape)
    assert [1.0, 0.75] == value_B1.flatten().tolist()


@pytest.mark.parametrize(
    ("schedule", "oracle"),
    [
        (Linear(start=0.9, stop=0.5), lambda t: 0.9 + (0.5 - 0.9) * t),
        (Cosine(start=0.9, stop=0.5), lambda t: 0.5 + 0.4 * (1 + math.cos(math.pi * t)) / 2),
        (Exponential(start=0.9, stop=0.5), lambda t: 0.9 * (0.5 / 0.9) ** t),
        (STAGES, lambda t: 7.5 if t < 0.25 else 5.0 if t < 0.75 else 2.5),
    ],
)
@given(t=st.floats(0, 1, width=32))
def test_each_form_follows_its_formula(schedule, oracle, t: float) -> None:
    """Against the formula in plain Python."""
    value_B = schedule.at(torch.tensor([t]))
    assert oracle(float(torch.tensor(t))) == pytest.approx(value_B.item(), abs=1e-5)


@given(start=st.floats(0.125, 1, width=32), stop=st.floats(0.125, 1, width=32))
def test_every_form_begins_and_ends_where_it_says(start: float, stop: float) -> None:
    """The ends are what the checks of the option see."""
    for cls in (Linear, Cosine, Exponential):
        schedule = cls(start=start, stop=stop)
        ends = schedule.at(torch.tensor([0.0, 1.0])).tolist()
        assert [start, stop] == pytest.approx(ends, abs=1e-5)
        assert (start, stop) == schedule.checked_values()


def test_stages_change_exactly_at_their_times() -> None:
    """A time belongs to the stage that begins with it."""
    quarters = Piecewise(((0.0, 1.0), (0.25, 2.0), (1.0, 3.0)))
    times = torch.tensor([0.0, 0.2, 0.25, 0.9, 1.0])
    assert [1.0, 1.0, 2.0, 2.0, 3.0] == quarters.at(times).tolist()
    assert (1.0, 2.0, 3.0) == quarters.checked_values()


def test_over_steps_counts_the_planned_steps() -> None:
    """The first step is at 0; steps beyond the plan stay at the end."""
    schedule = Linear(start=1.0, stop=0.0, over="steps")
    values = [value_at(schedule, view(step=step, planned=4))[0, 0].item() for step in (0, 1, 3, 9)]
    assert [1.0, 0.75, 0.25, 0.0] == values


def test_over_steps_without_a_plan_is_an_error() -> None:
    """It says what to write instead."""
    with pytest.raises(StrategyError, match="write `over: filled`"):
        value_at(Linear(start=1.0, stop=0.0, over="steps"), view())


@pytest.mark.parametrize(
    "points", [(), ((0.5, 1.0),), ((0.0, 1.0), (0.0, 2.0)), ((0.0, 1.0), (1.5, 2.0))]
)
def test_stages_need_rising_times_from_zero(points) -> None:
    """Anything else leaves a part of the decode without a value."""
    with pytest.raises(ValueError, match=r"piecewise.points must"):
        Piecewise(points)


def test_an_exponential_cannot_cross_zero() -> None:
    """No ratio leads from 1 to 0."""
    found = list(Exponential.check_options({"start": 1.0, "stop": 0.0, "over": "filled"}))
    assert [("stop", "`from` and `to` must have the same sign and not be 0", "use linear")] == found
