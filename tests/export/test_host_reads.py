"""A step on a compiled network reads on the host what one on PyTorch reads: its flags, once."""

from __future__ import annotations

import pytest

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit.testing.host_reads import reads_by_step
from tests.export.compiled import network

USUAL = ["tolist"]
"""The flags of the step before."""


def reads(preset, option, *, checked):
    """What each step reads, in blocks of four with a token in each step."""
    spec = load_spec(preset, ["gen_length=8", "pipeline.blocks.length=4", option])
    compiled = network("tiny")
    canvas = Canvas.create([[5, 6, 7]], 8, compiled.info.mask_id)
    context = Context({"main": Session(compiled, checked=checked)})
    return reads_by_step(spec.pipeline.steps(context, canvas))


@pytest.mark.parametrize(
    ("preset", "option"),
    [
        ("llada", "pipeline.transfer.steps_per_block=4"),
        ("fast-dllm-dual", "pipeline.transfer.threshold=1.0"),
    ],
)
def test_steps_inside_a_block_read_their_flags_alone(preset, option):
    """Making feeds, binding them and running the graph reads nothing."""
    found = reads(preset, option, checked=False)
    assert [USUAL] * 6 == [*found[1:4], *found[5:8]]


def test_a_plan_is_checked_once_in_a_block():
    """Later steps feed and read what the one before did."""
    found = reads("fast-dllm-dual", "pipeline.transfer.threshold=1.0", checked=True)
    plan, fed, stored = 1, 1, 1
    assert len(USUAL) + plan + fed + stored == len(found[1])
    assert [USUAL] * 2 == found[2:4]
