"""Aligned blocks: counted from the start of the row, whatever the prompt."""

from __future__ import annotations

import pytest

from dlmkit.canvas import Canvas
from dlmkit_strategies.aligned import AlignedBlocks
from dlmkit_strategies.cache import BlockCausal
from dlmkit_strategies.transfer import TopK
from tests.strategies.cache.decodes import decode


def spans(prompt, new, length):
    """Every block of a row, in order, decoded from left to right."""
    canvas, found = Canvas.create([[1] * prompt], new, 23), []
    while canvas.masked_BN.any():
        block = AlignedBlocks(length=length).current(canvas)
        start, stop = int(block.start_B), int(block.stop_B)
        found.append((start, stop, int(block.index_B)))
        canvas.tokens_BN = canvas.tokens_BN.clone()
        canvas.tokens_BN[:, start:stop] = 1
    return found


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (4, [(4, 8, 0), (8, 12, 1)]),
        (3, [(3, 4, 0), (4, 8, 1), (8, 11, 2)]),
        (1, [(1, 4, 0), (4, 8, 1), (8, 9, 2)]),
    ],
)
def test_blocks_end_at_multiples_of_the_length(prompt, expected):
    """The first and the last may be shorter."""
    assert expected == spans(prompt, 8, 4)


def test_a_step_of_an_aligned_block_computes_one_attention_block():
    """With the exact cache: one block, or two where the block before has just been finished."""
    _, session = decode(BlockCausal(), [[3, 1, 4, 1, 5]], transfer=TopK(1), blocks=AlignedBlocks(4))
    fed = [each["fed"] for each in session.passes]
    assert [8, 4, 4, 8, 4, 4, 4, 8, 4, 4, 4, 5] == fed
