"""What sizes of prompted trees are worth, where passes are dear and where they are cheap."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from dlmkit_strategies.prompt_tokens.choose_size import SIZES, main, worths
from dlmkit_strategies.prompt_tokens.tree_states import gain_per_pass, tree_states

SHARES = ((0.5, 0.2), (0.4, 0.15))


def test_speed_is_tokens_by_what_they_cost():
    """Where a pass costs the same whatever it is fed, that is tokens a pass; else less."""
    free = worths(SHARES, lambda _: 0.1)
    dear = worths(SHARES, lambda fed: 0.1 * fed)
    assert list(SIZES) == [size for size, _, _ in free]
    for (size, tokens, speed), (_, _, slow) in zip(free, dear, strict=True):
        assert tokens == 1 + gain_per_pass(tree_states(size, SHARES))
        assert (speed, slow) == pytest.approx((tokens, tokens / (size + 2)))
    assert free[0][2] < free[-1][2]
    assert dear[0][2] > dear[-1][2]


def test_the_command_prints_every_size():
    """And what to measure, as long as nothing is."""
    done = CliRunner().invoke(main, ["parallel-prompt"])
    assert 0 == done.exit_code, done.output
    assert all(f" {size} " in done.output for size in SIZES)


def test_other_pipelines_are_refused():
    """They have no trees of that kind."""
    done = CliRunner().invoke(main, ["autoregressive"])
    assert 1 == done.exit_code
    assert "drafts no prompted trees" in done.output
