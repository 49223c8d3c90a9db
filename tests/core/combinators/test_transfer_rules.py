"""Transfer rules made of transfer rules: what they select, and how long they may take.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.combinators import FallbackTransfer, IntersectTransfer, UnionTransfer, WhenTransfer
from tests.core.combinators.parts import HALF_DONE, LEFT, NOTHING, RIGHT, SURE, Fixed, Waiting, view

BEHIND = Fixed((False, False, True, True))
SECOND = Fixed((False, True, False, False))
SLOW = Waiting((False,) * 4, steps=20)
FOUR, FIVE = Fixed((True,) * 4, steps=4), Fixed((True,) * 4, steps=5)


def selected(rule, eligible=((True,) * 4,) * 2):
    """Selected positions of each row."""
    commit_BP = rule.select(SURE, view(eligible_BP=torch.tensor(eligible)))
    return [row.nonzero().flatten().tolist() for row in commit_BP]


def when(then, otherwise):
    """The first rule in the first row only."""
    return WhenTransfer(condition=HALF_DONE, then=then, otherwise=otherwise)


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        (UnionTransfer((LEFT, RIGHT)), [[0, 1, 2], [0, 1, 2]]),
        (IntersectTransfer((LEFT, RIGHT)), [[1], [1]]),
        # They agree on nothing: a decode goes on, with each row's own surest position.
        (IntersectTransfer((LEFT, BEHIND)), [[3], [0]]),
        (when(LEFT, RIGHT), [[0, 1], [1, 2]]),
    ],
    ids=["union", "intersect", "intersect-nothing", "when"],
)
def test_a_combination_selects_by_position_and_row(rule, rows):
    """Where any, all, or the row's own rule selects."""
    assert rows == selected(rule)


def test_intersect_never_selects_a_position_that_is_not_eligible():
    """Nor anything in a row that has nothing to decide."""
    eligible = [[True, False, True, False], [False, False, False, False]]
    assert [[2], []] == selected(IntersectTransfer((SECOND, NOTHING)), eligible)


def test_fallback_uses_the_first_rule_that_selects_anything_in_a_row():
    """Each row falls back on its own."""
    eligible = [[True, True, True, True], [False, False, True, True]]
    assert [[0, 1], [2, 3]] == selected(FallbackTransfer((LEFT, BEHIND)), eligible)


def test_intersect_breaks_ties_to_the_lowest_position_even_at_minus_infinity():
    """Scores of minus infinity on eligible positions still rank above the others."""
    hopeless_BP = torch.full((2, 4), -torch.inf)
    now = view(eligible_BP=torch.tensor([[False, True, True, False]] * 2))
    commit_BP = IntersectTransfer((NOTHING, LEFT)).select(hopeless_BP, now)
    assert [[False, True, False, False]] * 2 == commit_BP.tolist()


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=4))
def test_union_and_intersect_agree_with_a_loop(masks):
    """For any masks; the intersection is compared where it is not empty."""
    rules = tuple(Fixed(tuple(mask)) for mask in masks)
    union = [position for position in range(4) if any(mask[position] for mask in masks)]
    both = [position for position in range(4) if all(mask[position] for mask in masks)]
    assert [union, union] == selected(UnionTransfer(rules))
    assert [both or [3], both or [0]] == selected(IntersectTransfer(rules))


@pytest.mark.parametrize(
    ("rule", "waits"),
    [
        (UnionTransfer((NOTHING, LEFT)), False),
        (UnionTransfer((NOTHING, NOTHING)), True),
        (FallbackTransfer((NOTHING, LEFT)), False),
        (IntersectTransfer((NOTHING, NOTHING)), False),
        (when(NOTHING, LEFT), True),
    ],
)
def test_one_rule_that_always_commits_is_enough_not_to_wait(rule, waits):
    """Unless it is for other rows."""
    assert waits == rule.may_wait


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        # One that may wait bounds its steps: the loop has to tell waiting from being stuck.
        (UnionTransfer((SLOW, NOTHING)), 8),
        (FallbackTransfer((SLOW, NOTHING)), 20),
        (when(SLOW, NOTHING), 28),
        (when(SLOW, LEFT), 52),
        # One that does not wait fixes its steps only where two rules have the same number.
        (UnionTransfer((FOUR, LEFT)), None),
        (when(FOUR, FOUR), 4),
        (when(FOUR, FIVE), None),
    ],
)
def test_steps_of_a_combination_follow_from_those_of_its_members(rule, steps):
    """In a block of 32 positions."""
    assert steps == rule.steps_per_block(32)
