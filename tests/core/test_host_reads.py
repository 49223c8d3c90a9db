"""A step reads a handful of flags on the host and nothing else: each read stalls a GPU."""

from __future__ import annotations

import pytest

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.session import Session
from dlmkit.spec import load_spec
from dlmkit.testing.host_reads import reads_by_step
from dlmkit.testing.toy import toy_network

LIVE, BLOCK_FILLED, PROGRESS, WIDTH = "__bool__", "equal", "equal", "tolist"
NUMBERS = "__bool__"
"""Whether the first pass predicts any."""
USUAL = [BLOCK_FILLED, PROGRESS]
"""Is a block filled, and did every row move on; where no block is filled something is left."""


def reads(preset, *options, checked=False):
    """What each step reads, in blocks of four with a token in each step."""
    spec = load_spec(preset, ["gen_length=8", "pipeline.blocks.length=4", *options])
    network = toy_network()
    canvas = Canvas.create([[3, 1, 4]], 8, network.info.mask_id)
    session = Session(network, checked=checked)
    found = reads_by_step(spec.pipeline.steps(Context({"main": session}), canvas))
    assert 9 == len(found)
    return found


@pytest.mark.parametrize(
    ("preset", "option", "at_block_start"),
    [
        ("llada", "pipeline.transfer.steps_per_block=4", []),
        ("fast-dllm-dual", "pipeline.transfer.threshold=1.0", [WIDTH]),
    ],
)
def test_steps_inside_a_block_read_two_flags(preset, option, at_block_start):
    """Where a row enters a block: also whether anything is left, and the width of its pass."""
    steps = reads(preset, option)
    assert [USUAL] * 6 == [*steps[1:4], *steps[5:8]]
    assert sorted([LIVE, NUMBERS, PROGRESS, *at_block_start]) == sorted(steps[0])
    assert sorted([LIVE, *USUAL, *at_block_start]) == sorted(steps[4])


def test_checking_plans_costs_reads():
    """Which is why a session on a GPU does not, unless it is told to."""
    option = "pipeline.transfer.threshold=1.0"
    assert len(reads("fast-dllm-dual", option, checked=True)[1]) == len(USUAL) + 3
