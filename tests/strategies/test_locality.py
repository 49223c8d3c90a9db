"""Rules of place: LocalLeap and the best of each run."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit_strategies.guard import Spaced
from dlmkit_strategies.locality import Dilated, LocalLeap, RunBest
from dlmkit_strategies.transfer import Threshold
from tests.strategies.steps import canvas_of, chosen, fresh, proposing, view_of

ROWS = st.lists(st.lists(st.floats(0, 1), min_size=7, max_size=7), min_size=1, max_size=3)


def test_localleap_relaxes_near_an_anchor() -> None:
    """The worked example: reach 4, and what is relaxed does not anchor in turn."""
    row = [0.95, 0.80, 0.74, 0.76, 0.76, 0.76, 0.10, 0.89, 0.20, 0.20, 0.20, 0.20]
    assert [[0, 1, 3, 4]] == chosen(LocalLeap(), fresh([row]))


@given(ROWS, st.floats(0, 1))
def test_localleap_without_reach_is_a_threshold(rows: list[list[float]], limit: float) -> None:
    """Identity of the method at w = 0."""
    view = fresh(rows)
    expected = chosen(Threshold(threshold=limit), view)
    assert expected == chosen(LocalLeap(threshold=limit, relaxed=0.0, radius=0), view)


@given(ROWS, st.floats(0, 1), st.integers(0, 9))
def test_localleap_without_relaxation_is_a_threshold(
    rows: list[list[float]], limit: float, radius: int
) -> None:
    """Identity of the method at rho = theta."""
    view = fresh(rows)
    expected = chosen(Threshold(threshold=limit), view)
    assert expected == chosen(LocalLeap(threshold=limit, relaxed=limit, radius=radius), view)


def test_localleap_refuses_a_relaxed_threshold_above_the_other() -> None:
    """Relaxing upwards makes no sense."""
    options = {"threshold": 0.5, "relaxed": 0.6, "radius": 1}
    (problem,) = LocalLeap.check_options(options)
    assert ("relaxed", "must not exceed `threshold`", "lower it, or raise `threshold`") == problem


def runs_best(row: list[float], masked: list[bool], low: float, high: float) -> list[int]:
    """Walk the row and keep the best of each run."""
    taken = {i for i, c in enumerate(row) if masked[i] and c > high}
    runs: list[list[int]] = [[]]
    for place, open_here in enumerate(masked):
        if open_here:
            runs[-1].append(place)
        else:
            runs.append([])
    for run in filter(None, runs):
        best = max(run, key=lambda i: (row[i], -i))
        taken |= {best} if row[best] > low else set()
    places = [i for i in range(len(row)) if masked[i]]
    taken |= {max(places, key=lambda i: (row[i], -i))} if places else set()
    return sorted(taken)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()),
        min_size=8,
        max_size=8,
    ),
    st.sampled_from([0.0, 0.4, 0.6]),
)
def test_the_best_of_every_run_is_taken(row: list[tuple[float, bool]], low: float) -> None:
    """With ties to the lowest position, and decided positions between the runs."""
    scores, masked = [c for c, _ in row], [m for _, m in row]
    view = view_of(canvas_of([[None if m else 3 for m in masked]]))
    rule = RunBest(threshold=0.8, low=low)
    assert [runs_best(scores, masked, low, 0.8)] == chosen(rule, proposing(view, [scores]))


@pytest.mark.parametrize("low", [0.4, 1.0])
def test_a_doubtful_run_waits(low: float) -> None:
    """Its best is not taken unless it is the best of all."""
    view = proposing(view_of(canvas_of([[None, 5, None]])), [[0.5, 0.0, 0.3]])
    assert [[0]] == chosen(RunBest(low=low), view)


@pytest.mark.parametrize(
    ("rule", "width", "expected"),
    [
        (Dilated(base=2), 8, [4, 2, 1]),
        (Dilated(base=2, skip=1), 8, [2, 1]),
        (Dilated(base=4), 64, [16, 4, 1]),
        (Dilated(base=2), 1, [1]),
    ],
)
def test_dilated_strides_shrink_to_one(rule: Dilated, width: int, expected: list[int]) -> None:
    """Each is the one before divided by the base."""
    assert expected == rule.strides(width)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, [0, 4]), (1, [0, 2, 4, 6]), (2, list(range(8)))]
)
def test_dilated_takes_its_grid_and_the_best(step: int, expected: list[int]) -> None:
    """The best position lies on every grid here."""
    view = view_of(canvas_of([[None] * 8]), block_step_B=torch.tensor([step]))
    scores = [0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert [expected] == chosen(Dilated(), proposing(view, [scores]))


def test_dilated_lets_doubtful_positions_wait() -> None:
    """Until the last step, which takes everything."""
    first, last = (
        proposing(view_of(canvas_of([[None] * 4]), block_step_B=torch.tensor([step])), [[0.2] * 4])
        for step in (0, 1)
    )
    assert [[0]] == chosen(Dilated(doubt=0.3), first)
    assert [[0, 1, 2, 3]] == chosen(Dilated(doubt=0.3), last)


def spread(row: list[float], limit: float, gap: int) -> list[int]:
    """Take positions over the limit, the surest first, unless one that was taken is too near."""
    taken: list[int] = []
    for place in sorted(range(len(row)), key=lambda each: (-row[each], each)):
        if row[place] >= limit and all(abs(place - other) >= gap for other in taken):
            taken.append(place)
    return sorted(taken)


@given(ROWS, st.floats(0, 1), st.integers(1, 9))
def test_spaced_positions_keep_their_distance(
    rows: list[list[float]], limit: float, gap: int
) -> None:
    """Against the greedy choice one by one; ties go to the first."""
    view = fresh(rows)
    confidence_BP = view.proposal.confidence_BP
    kept_BP = Spaced(gap=gap).guard(confidence_BP >= limit, confidence_BP, view)
    expected = [spread(row, limit, gap) for row in rows]
    assert expected == [row.nonzero()[:, 0].tolist() for row in kept_BP]
