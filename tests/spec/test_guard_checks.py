"""The check of guards that drop commits."""

from __future__ import annotations

import pytest

from dlmkit.spec import SpecError, load_spec

PIPELINE = """\
dlmkit: pipeline/1
name: planned
gen_length: 8
pipeline:
  sample: greedy
  confidence: probability
  transfer: {use: time-grid, steps: 4}
  guard: GUARD
"""


@pytest.mark.parametrize("guard", ["spaced", "at-most", "at-most-share"])
def test_a_guard_that_drops_commits_is_refused_beside_a_plan(guard: str) -> None:
    """A time grid must decide everything by its last step."""
    with pytest.raises(SpecError) as caught:
        load_spec(PIPELINE.replace("GUARD", guard))
    (problem,) = caught.value.problems
    assert ("kept-steps", "<text>:8:10") == (problem.check, str(problem.mark))
    assert f"guard '{guard}' drops commits" in problem.message
    assert "threshold or top-k" in problem.hint


@pytest.mark.parametrize("rule", ["top-k", "quota"])
def test_other_rules_take_up_what_was_dropped(rule: str) -> None:
    """They look at every step anew."""
    assert load_spec(
        PIPELINE.replace("GUARD", "spaced").replace("{use: time-grid, steps: 4}", rule)
    )


def test_a_guard_that_only_adds_goes_with_a_plan() -> None:
    """It leaves the plan nothing to catch up with."""
    assert load_spec(PIPELINE.replace("GUARD", "at-least"))
