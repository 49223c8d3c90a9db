"""Pivots that are tried before one is kept: ETE-style, with branches."""

from __future__ import annotations

from typing import Any

import pytest

from dlmkit.denoise import Denoise
from dlmkit.spec import SpecError, load_spec
from dlmkit.testing.conformance.decoding import GEN_LENGTH, PROMPTS, Decoded, decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.exploration import Explore, SlidingBlocks
from dlmkit_strategies.explore_ahead import ExploreAhead
from dlmkit_strategies.sample import Greedy
from tests.oracles import explore_ahead

RULE = Explore(threshold=0.97, floor=0.1, enough=2, reach=8)
SLOTS: dict[str, Any] = {
    "blocks": SlidingBlocks(length=4, count=2),
    "sample": Greedy(),
    "confidence": Probability(),
}


def decoded(rule: Explore = RULE, **options: Any) -> Decoded:
    """The toy prompts, decoded with branches."""
    return decode(ExploreAhead(transfer=rule, **(SLOTS | options)), toy_networks())


@pytest.mark.parametrize("weight", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("branches", [2, 3, 8])
@pytest.mark.parametrize("enough", [1, 2, 4])
def test_every_row_is_that_of_the_plain_loop(branches: int, weight: float, enough: int) -> None:
    """Tokens of each row, passes of the slowest, and canvases run: only stalled rows branch."""
    rule = Explore(threshold=0.97, floor=0.1, enough=enough, reach=8)
    network = toy_networks()["main"]
    expected = [
        explore_ahead.decode(network, prompt, GEN_LENGTH, 4, 2, rule, branches, weight)
        for prompt in PROMPTS
    ]
    found = decoded(rule, branches=branches, weight=weight)
    assert [tuple(tokens) for tokens, _ in expected] == list(found.rows)
    assert max(max(widths) for _, widths in expected) > 1
    passes = max(len(widths) for _, widths in expected)
    assert passes == len(found.trace)
    waiting = sum(passes - len(widths) for _, widths in expected)
    assert found.executed["main"].rows == sum(sum(widths) for _, widths in expected) + waiting


@pytest.mark.parametrize("blocks", [None, FixedBlocks(length=4), SlidingBlocks(length=2, count=3)])
def test_one_branch_is_exploration_without_a_trial(blocks: Any) -> None:
    """Identity of the method at K = 1: the rule `explore` in the ordinary loop, pass by pass."""
    plain = Denoise(**(SLOTS | {"blocks": blocks}), transfer=RULE)
    assert decode(plain, toy_networks()) == decoded(blocks=blocks, branches=1)


def test_a_threshold_of_nothing_takes_a_window_a_pass() -> None:
    """Nothing stalls, so nothing branches."""
    rule = Explore(threshold=0.0, floor=0.0, enough=1)
    found = decoded(rule, blocks=SlidingBlocks(length=2, count=2))
    assert GEN_LENGTH // 4 == len(found.trace)
    assert GEN_LENGTH // 4 * len(PROMPTS) == found.executed["main"].rows


def test_trying_pivots_decides_otherwise() -> None:
    """Somewhere the most uncertain pivot is not the best one."""
    assert decoded(branches=1).rows != decoded(branches=4, weight=5.0).rows


def test_a_rule_without_pivots_is_refused() -> None:
    """At the rule, before anything is loaded."""
    with pytest.raises(SpecError) as caught:
        load_spec("ete-branches", ["pipeline.transfer=threshold"])
    (problem,) = caught.value.problems
    assert "must be `explore`, which has pivots to try" in problem.message
    assert problem.hint == "use it, or `denoise`"
