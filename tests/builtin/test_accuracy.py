"""Counting exact answers, and the interval that goes with the count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.builtin.accuracy import Accuracy, held_out, wilson_interval


def test_wilson_interval_agrees_with_published_values() -> None:
    """Newcombe (1998), table I: 81 of 263 and 15 of 148."""
    assert pytest.approx((0.2553, 0.3662), abs=5e-5) == wilson_interval(81, 263)
    assert pytest.approx((0.0624, 0.1605), abs=5e-5) == wilson_interval(15, 148)


@given(total=st.integers(1, 500), data=st.data())
def test_the_interval_holds_the_rate_and_stays_within_bounds(
    total: int, data: st.DataObject
) -> None:
    """It is a subset of 0 to 1 that contains the measured share."""
    solved = data.draw(st.integers(0, total))
    low, high = wilson_interval(solved, total)
    assert 0 <= low <= solved / total + 1e-12
    assert solved / total - 1e-12 <= high <= 1


def test_accuracy_counts_exact_answers_only() -> None:
    """One right answer of two is a rate of a half."""
    examples = held_out("lists", 2, seed=1)
    accuracy = Accuracy.of(examples, [examples[0].answer, "something else"])
    assert Accuracy(1, 2) == accuracy
    assert accuracy.rate == 0.5
