"""Components: fields are options, documented and checked."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.bounds import above, at_least, at_most, below, each, increasing, not_empty
from dlmkit.component import Component, option, options_of, problem_with, union_members
from dlmkit.schedules import Linear


@attrs.frozen
class Sample(Component):
    """A component."""

    name = "sample"

    count: int = option(3, doc="how many", check=at_least(1))
    start: float | None = option(None, doc="where", key="from", check=(above(0), at_most(1)))
    plain: int = attrs.field(default=0)


def test_options_are_read_off_the_class() -> None:
    """In order, with type, default and documentation; plain fields are none."""
    count, start = options_of(Sample)
    assert ("count", "count", int, 3, "how many") == (
        count.name,
        count.key,
        count.type,
        count.default,
        count.doc,
    )
    assert ("start", "from") == (start.name, start.key)
    assert start.accepts_none
    assert not start.required


def test_a_bad_value_is_refused_in_python_too() -> None:
    """The message names the component and the option."""
    with pytest.raises(ValueError, match=r"^sample.count must be at least 1; got 0$"):
        Sample(count=0)
    with pytest.raises(ValueError, match=r"^sample.start must be at most 1; got 2$"):
        Sample(start=2)


def test_null_is_not_checked() -> None:
    """A limit applies to the values that are given."""
    assert Sample(start=None).start is None


def test_a_schedule_is_checked_at_its_extremes() -> None:
    """A ramp out of bounds is as wrong as a number out of bounds."""
    assert "must be at most 1" == problem_with(Linear(start=2.0, stop=0.5), (at_most(1),))
    assert problem_with(Linear(start=1.0, stop=0.5), (at_most(1),)) is None


def test_a_component_is_frozen() -> None:
    """Options do not change during a decode."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Sample().count = 4


def test_union_members_split_optionals() -> None:
    """Both spellings of a union, and single types."""
    assert (int, type(None)) == union_members(int | None)
    assert (int,) == union_members(int)


@pytest.mark.parametrize(
    ("check", "good", "bad", "message"),
    [
        (at_least(2), 2, 1, "must be at least 2"),
        (at_most(2), 2, 3, "must be at most 2"),
        (above(2), 3, 2, "must be greater than 2"),
        (below(2), 1, 2, "must be smaller than 2"),
        (not_empty, "x", "", "must not be empty"),
        (increasing, (1, 2), (1, 1), "must be in increasing order"),
        (each(at_least(0)), (0, 1), (0, -1), "has an item that must be at least 0"),
    ],
)
def test_each_bound_accepts_its_limit_and_says_what_it_wants(check, good, bad, message) -> None:
    """None means that nothing is wrong."""
    assert check(good) is None
    assert message == check(bad)


@given(st.integers(), st.integers())
def test_at_least_and_below_are_opposites(value: int, limit: int) -> None:
    """Exactly one of the two complains."""
    assert (at_least(limit)(value) is None) != (below(limit)(value) is None)
