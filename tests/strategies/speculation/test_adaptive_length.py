"""DiffuSpec's draft-length controller against its rule in plain numbers, and where it leads."""

from __future__ import annotations

from math import floor
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.draft import Draft
from dlmkit_strategies.draft_verify import AdaptiveLength

END, MASK, LEAST, MOST = 7, 9, 2, 12
RULE = {"first": MOST, "least": LEAST, "most": MOST, "beyond": 4}


def result_of(drafted, said, kept):
    """A round in which so many tokens were drafted, the end after `said` of them."""
    canvas = Canvas.create([[1, 2]], 20, MASK)
    tokens = torch.ones(1, drafted, dtype=torch.int64)
    tokens[0, said:] = END
    raw = Draft.chain(torch.arange(2, 2 + drafted)[None], tokens, torch.ones_like(tokens) > 0)
    info = SimpleNamespace(eos_ids=(END,), eot_ids=())
    return SimpleNamespace(
        raw=raw,
        round=SimpleNamespace(canvas=canvas),
        evidence=SimpleNamespace(root=SimpleNamespace(info=info)),
        kept_B=torch.tensor([kept]),
        proposed_B=torch.tensor([drafted]),
    )


def played(schedule, rounds):
    """The budgets before and after each round; `rounds` say what is said and kept of a length."""
    level_BL = torch.tensor([schedule.start()], dtype=torch.float64)
    budgets = [int(schedule.budget(level_BL))]
    for round_ in rounds:
        level_BL = schedule.after(level_BL, result_of(budgets[-1], *round_(budgets[-1])))
        budgets.append(int(schedule.budget(level_BL)))
    return budgets


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8), st.floats(0.1, 1.0))
def test_lengths_are_those_of_the_rule(rounds, share):
    """Averages from nothing, the first rounded down, more where the second is no smaller."""
    told = [(lambda k, r=pair: (min(r[0], k), min(r[1], r[0], k))) for pair in rounds]
    found = played(AdaptiveLength(**RULE, share=share), told)
    steps, said, kept = [MOST], 0.0, 0.0
    for each in told:
        latest = each(steps[-1])
        said, kept = said + share * (latest[0] - said), kept + share * (latest[1] - kept)
        more = 4 if kept >= said else 0
        steps.append(min(max(floor(said) + more, LEAST), MOST))
    assert steps == found


def test_drafts_that_are_kept_whole_grow_to_the_most():
    """From a short first one."""
    schedule = AdaptiveLength(**{**RULE, "first": LEAST})
    assert MOST == played(schedule, [lambda k: (k, k)] * 12)[-1]


@pytest.mark.parametrize("said", [3, 5])
def test_the_average_goes_to_what_the_drafter_always_says(said):
    """And no more than that is drafted where less is kept, within the bounds."""
    schedule = AdaptiveLength(**{**RULE, "least": 6})
    level_BL = torch.tensor([schedule.start()], dtype=torch.float64)
    for _ in range(40):
        level_BL = schedule.after(level_BL, result_of(MOST, said, 0))
    assert said == pytest.approx(float(level_BL[0, 0]))
    assert [6] == schedule.budget(level_BL).tolist()


def test_rows_that_did_not_draft_stay():
    """Their averages say nothing new."""
    schedule = AdaptiveLength(**RULE)
    level_BL = torch.tensor([schedule.start()], dtype=torch.float64)
    result = result_of(4, 2, 1)
    result.proposed_B = torch.tensor([0])
    assert torch.equal(level_BL, schedule.after(level_BL, result))
