"""The quota of block diffusion models: shares of the block's length, not of its masks."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.testing.toy import toy_network
from dlmkit_strategies.aligned import AlignedBlocks
from dlmkit_strategies.block_quota import BlockQuota
from dlmkit_strategies.transfer import Quota
from tests.core.runs import llada, run
from tests.strategies.cache.decodes import decode


def commits(prompt, rule):
    """Tokens that each step decides, over eight new ones in aligned blocks of four."""
    pipeline = attrs.evolve(llada(), blocks=AlignedBlocks(4), transfer=rule)
    _, records, _ = run(pipeline, toy_network(), [prompt], 8)
    return [len(record.changes()) for record in records]


@pytest.mark.parametrize(
    ("steps", "prompt", "expected"),
    [
        (2, [1, 2, 3, 4], [2, 2, 2, 2]),
        (3, [1, 2, 3, 4], [2, 1, 1, 2, 1, 1]),
        (2, [1], [2, 1, 2, 2, 1]),
        (4, [1, 2], [1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_shares_come_from_the_length_of_the_block(steps, prompt, expected):
    """A remainder goes first; a block that begins with the prompt is done sooner."""
    assert expected == commits(prompt, BlockQuota(length=4, steps=steps))


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_over_whole_blocks_it_is_the_quota(steps):
    """Where every block starts out masked, length and masks are the same number."""
    prompt = [[3, 1, 4, 1]]
    by_length = decode(None, prompt, transfer=BlockQuota(length=4, steps=steps))[0]
    assert decode(None, prompt, transfer=Quota(steps=steps))[0] == by_length


@pytest.mark.parametrize("length", range(1, 8))
@pytest.mark.parametrize("steps", range(1, 8))
def test_the_stated_steps_are_those_that_the_shares_take(length, steps):
    """Adding up the shares one by one gives the same number."""
    rule = BlockQuota(length=length, steps=steps)
    for width in range(1, 12):
        left, taken = width, 0
        while left > 0:
            left -= max(1, length // steps + (taken < length % steps))
            taken += 1
        assert taken == rule.steps_per_block(width)
