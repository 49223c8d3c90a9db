"""`when`: a part that acts only in the rows, and at the times, of its condition."""

from __future__ import annotations

import pytest
import torch

from dlmkit.combinators import (
    Condition,
    WhenConfidence,
    WhenExit,
    WhenGuard,
    WhenInputs,
    WhenLogits,
    WhenRevise,
    WhenSample,
    WhenStop,
)
from tests.core.combinators.parts import (
    HALF_DONE,
    ODD,
    SURE,
    Drop,
    Leaves,
    Nats,
    Plus,
    Reopen,
    Rows,
    Says,
    Scores,
    Zero,
    view,
)


def edited():
    """The largest logit of each row; that of rows that are left alone is 0."""
    rule = WhenLogits(condition=HALF_DONE, then=Plus(1.0))
    return rule.edit(torch.zeros(2, 4, 3), view()).amax(dim=(1, 2))


def fed():
    """The ids that are fed, 0 to 7 where they are left alone."""
    rule = WhenInputs(condition=HALF_DONE, then=Zero())
    return rule.apply(torch.arange(8).reshape(2, 4), view())


def kept():
    """What of the odd positions is committed."""
    return WhenGuard(condition=HALF_DONE, then=Drop()).guard(ODD, SURE, view())


def left():
    """Rows that exit."""
    rule = WhenExit(condition=HALF_DONE, then=Leaves((True, True)))
    return rule.decide(None, SURE, view()).rows_B


def reopened():
    """Rows in which something is reopened."""
    rule = WhenRevise(condition=HALF_DONE, then=Reopen())
    return rule.revise(None, view()).where_BP.any(dim=1)


def stopped():
    """Rows that stop."""
    return WhenStop(condition=HALF_DONE, then=Rows((True, True))).stop(view())


@pytest.mark.parametrize(
    ("outcome", "rows"),
    [
        (edited, [1.0, 0.0]),
        (fed, [[0, 0, 0, 0], [4, 5, 6, 7]]),
        (kept, [[False] * 4, ODD[1].tolist()]),
        (left, [True, False]),
        (reopened, [True, False]),
        (stopped, [True, False]),
    ],
)
def test_when_leaves_the_other_rows_alone(outcome, rows):
    """In every role whose slot is a list."""
    assert rows == outcome().tolist()


def test_when_says_of_itself_what_its_member_says():
    """What a reviser sees, how far an exit reaches, and that it has nothing to say."""
    assert "before" == WhenRevise(condition=HALF_DONE, then=Reopen()).sees
    verdict = WhenExit(condition=HALF_DONE, then=Leaves((True, True))).decide(None, SURE, view())
    silent = WhenExit(condition=HALF_DONE, then=Leaves(None)).decide(None, SURE, view())
    assert ("canvas", None) == (verdict.scope, silent)


def test_when_chooses_samplers_and_scores_by_row():
    """The unit of a mixed score is unbounded."""
    sampler = WhenSample(condition=HALF_DONE, then=Says(1), otherwise=Says(2))
    scorer = WhenConfidence(condition=HALF_DONE, then=Scores(1.0), otherwise=Scores(2.0))
    mixed = WhenConfidence(condition=HALF_DONE, then=Scores(1.0), otherwise=Nats(2.0))
    assert [1, 2] == sampler.propose(None, view())[:, 0].tolist()
    assert [1.0, 2.0] == scorer.score(ODD, None, view())[:, 0].tolist()
    assert ("probability", "unbounded") == (scorer.score_space(), mixed.score_space())


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (Condition(progress=(0.0, 0.5)), [False, True]),
        (Condition(progress=(0.5, 1.0)), [True, False]),
        (Condition(block=(1, None)), [True, False]),
        (Condition(block=(0, 1)), [False, True]),
        (Condition(step=(0, 3)), [False, False]),
        (Condition(step=(3, 4)), [True, True]),
        (Condition(row=(11, None)), [False, True]),
        (Condition(row=(0, 11), step=(0, 9)), [True, False]),
        (Condition(row=(0, 11), step=(9, None)), [False, False]),
    ],
)
def test_conditions_are_half_open_and_must_all_hold(condition, rows):
    """The low end belongs to the interval, the high end does not."""
    assert rows == condition.holds_B(view()).tolist()


def test_a_condition_needs_an_interval_that_is_not_empty():
    """An empty condition, or one that never holds, is a mistake."""
    with pytest.raises(ValueError, match="needs one of progress, block, step, row"):
        Condition()
    with pytest.raises(ValueError, match=r"must be \[low, high\] with low below high"):
        Condition(step=(4, 4))
