"""Following rows from block to block: asking less often changes nothing."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.stop import EndOfText
from dlmkit_strategies.transfer import Quota, Threshold, TopK
from tests.core.runs import run


@attrs.frozen
class AskedEveryStep(FixedBlocks):
    """The same blocks without the promise."""

    name = "asked-every-step"
    until_filled = False


PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9]]


def decoded(blocks, transfer, seed: int):
    pipeline = Denoise(
        blocks=blocks,
        sample=Greedy(),
        confidence=Probability(),
        transfer=transfer,
        stop=(EndOfText(),),
    )
    rows, records, _ = run(pipeline, toy_network(seed), PROMPTS, 10)
    return rows, [[(c.row, c.position, c.token) for c in each.changes()] for each in records]


@pytest.mark.parametrize("transfer", [TopK(2), Quota(2), Threshold(0.5)], ids=str)
@given(seed=st.integers(0, 10_000), length=st.integers(1, 10))
def test_blocks_that_keep_their_promise_need_not_be_asked_every_step(transfer, seed, length):
    """Rows that fill their blocks at different steps, and rows that stop early."""
    promised = FixedBlocks(length=length, partial=True)
    asked = AskedEveryStep(length=length, partial=True)
    assert decoded(asked, transfer, seed) == decoded(promised, transfer, seed)
