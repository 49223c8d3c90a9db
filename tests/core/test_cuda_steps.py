"""On a GPU: steps that run ahead and are recorded as CUDA graphs, and wait for nothing."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.testing import assert_close

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.passes.session import Session
from dlmkit.recorded.recorder import CudaGraphs
from dlmkit.spec import load_spec
from tests.core.toy_presets import PRESETS, short, toys_for

pytestmark = pytest.mark.gpu

EIGHT = [[3, 1, 4, 2], [2, 5, 6, 7, 1, 3], [9], [1, 2], [4, 4, 4], [8, 7, 6], [5], [6, 1, 6, 1, 6]]


@pytest.fixture(autouse=True)
def _gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


def steps_on_gpu(document, rows, **how):
    """The steps of a decode on a toy there, and its session."""
    toy, device = toys_for(document)["main"], torch.device("cuda")
    network = TorchNetwork(toy.decoder.to(device), attrs.evolve(toy.info, device=device))
    canvas = Canvas.create(EIGHT[:rows], document.gen_length, toy.info.mask_id, device=device)
    session = Session(network, **how)
    return document.pipeline.steps(Context({"main": session}), canvas), session


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("preset", PRESETS)
def test_graphs_decode_what_written_steps_do(preset, rows):
    """By default sessions on a GPU run ahead and record; told not to, they wait and write."""
    document = short(preset)
    written, eager = steps_on_gpu(document, rows, runs_ahead=False)
    repeated, session = steps_on_gpu(document, rows)
    assert eager.recorder is None
    assert isinstance(session.recorder, CudaGraphs)
    found = list(zip(written, repeated, strict=True))
    for expected, record in found[:32]:
        assert torch.equal(expected.after_BN, record.after_BN)
        assert torch.equal(expected.live_B, record.live_B)
        assert expected.counts == record.counts
        assert_close(expected.confidence_BP, record.confidence_BP)


@pytest.mark.parametrize(
    ("preset", "option"),
    [
        ("llada", "pipeline.transfer.steps_per_block=16"),
        ("fast-dllm-dual", "pipeline.transfer.threshold=1.0"),
    ],
)
def test_no_step_inside_a_block_waits_for_the_device(preset, option):
    """From the second step on, through warm-up, recording and repetition."""
    document = load_spec(preset, ["gen_length=16", "pipeline.blocks.length=16", option])
    steps, _ = steps_on_gpu(document, 1)
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        records = [next(steps) for _ in range(14)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert 14 == len(records)
