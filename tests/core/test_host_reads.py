"""A step reads one handful of flags on the host and nothing else: each read stalls a GPU."""

from __future__ import annotations

from itertools import islice

import pytest

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.passes.session import Session
from dlmkit.plugins import get_plugins
from dlmkit.spec import load_spec
from dlmkit.testing.host_reads import reads_by_step
from tests.core.toy_presets import short, toys_for

FLAGS, WIDTH = "tolist", "tolist"
NUMBERS = "__bool__"
"""Whether the first pass predicts any."""
STEPS = 12

CHOOSY = {"elastic-cache": 4}
"""Caches that ask how many positions and layers a pass computes."""

DENOISING = sorted(
    name for name in get_plugins().presets if isinstance(load_spec(name).pipeline, Denoise)
)


def reads(document, *, checked=False):
    """What each of the first steps reads."""
    networks = toys_for(document)
    canvas = Canvas.create([[3, 1, 4]], document.gen_length, networks["main"].info.mask_id)
    sessions = {name: Session(each, checked=checked) for name, each in networks.items()}
    return reads_by_step(islice(document.pipeline.steps(Context(sessions), canvas), STEPS))[:-1]


@pytest.mark.parametrize("preset", DENOISING)
def test_a_step_reads_its_flags_and_at_most_how_large_its_pass_is(preset):
    """One read; a second where only tensors know what a cache leaves to be computed."""
    document = short(preset)
    pipeline, (first, *steps) = document.pipeline, reads(document)
    sizes = CHOOSY.get(preset, 2) if pipeline.cache else 1
    most = sizes if pipeline.length is None else 3  # also whether rows grow
    assert steps
    assert all(1 <= len(each) <= most for each in steps)
    assert NUMBERS in first


@pytest.mark.parametrize(
    ("preset", "option", "at_block_start"),
    [
        ("llada", "pipeline.transfer.steps_per_block=4", []),
        ("fast-dllm-dual", "pipeline.transfer.threshold=1.0", [WIDTH]),
    ],
)
def test_steps_inside_a_block_read_their_flags_alone(preset, option, at_block_start):
    """Where a row enters a block: also the width of its pass."""
    steps = reads(load_spec(preset, ["gen_length=8", "pipeline.blocks.length=4", option]))
    assert 8 == len(steps)
    assert [[FLAGS]] * 6 == [*steps[1:4], *steps[5:8]]
    assert [FLAGS, *at_block_start, NUMBERS] == steps[0]
    assert [FLAGS, *at_block_start] == steps[4]


def test_checking_plans_costs_reads():
    """Which is why a session on a GPU does not, unless it is told to."""
    options = ["gen_length=8", "pipeline.blocks.length=4", "pipeline.transfer.threshold=1.0"]
    document = load_spec("fast-dllm-dual", options)
    assert len(reads(document, checked=True)[1]) == len([FLAGS]) + 3
