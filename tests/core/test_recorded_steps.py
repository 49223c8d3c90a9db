"""Whole steps that are recorded and repeated decode what steps that are written do.

The recorder is a tape, which repeats operators on the tensors that they had, as a CUDA graph does.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.passes.session import Session
from dlmkit.recorded.recorder import NotRecordableError, SomeSteps
from dlmkit.testing.tape import Tapes
from dlmkit.testing.toy import toy_network
from dlmkit.view import View
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import TopK
from tests.core.toy_presets import PRESETS, PROMPTS, decoded, differences, short

UNRECORDED = {
    "dkv-greedy": "the size of a pass hangs on tensors",
    "dllm-cache": "layers run apart",
    "elastic-cache": "layers run apart",
    "fast-dllm-prefix": "the size of a pass hangs on tensors",
    "llada2-edit": "the size of a pass hangs on tensors",
    "sdar": "the size of a pass hangs on tensors",
    "sparse-dllm": "what is done hangs on how long the block has lasted",
    "vicinity-refresh": "the size of a pass hangs on tensors",
}


@pytest.mark.parametrize("ahead", [False, True], ids=["waiting", "ahead"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("preset", PRESETS)
def test_records_are_those_of_written_steps(preset, rows, ahead):
    """Whatever can be recorded is; the rest runs as it is written."""
    document, tapes = short(preset), Tapes()
    written = decoded(document, rows=rows, runs_ahead=False)
    repeated = decoded(document, rows=rows, runs_ahead=ahead, recorder=tapes)
    assert not differences(written, repeated)
    assert (preset in UNRECORDED) == (tapes.made == 0)
    assert (tapes.made == 0) == (tapes.played == 0)


def test_one_recording_serves_all_blocks():
    """What differs between blocks goes in with the tensors."""
    tapes = Tapes()
    _, records, _ = decoded(short("fast-dllm-dual"), rows=3, recorder=tapes)
    assert 1 == tapes.made
    assert tapes.played > len(records) // 3


def test_records_are_not_written_over():
    """The next repetition uses the same memory; what was handed out is a copy."""
    document = short("llada")
    network, tapes = toy_network(), Tapes()
    canvas = Canvas.create(PROMPTS[:1], 8, network.info.mask_id)
    session = Session(network, checked=False, recorder=tapes)
    records, kept = [], []
    for record in document.pipeline.steps(Context({"main": session}), canvas):
        records.append(record)
        kept.append((record.after_BN.clone(), record.confidence_BP.clone()))
    assert tapes.played
    for record, (after_BN, confidence_BP) in zip(records, kept, strict=True):
        assert torch.equal(after_BN, record.after_BN)
        assert torch.equal(confidence_BP, record.confidence_BP)


def confidence_by(use):
    """A pipeline whose scorer makes something of the view."""

    @attrs.frozen
    class Using(Probability):
        name = "using"

        def score(self, tokens_BP, prediction, view: View):
            return super().score(tokens_BP, prediction, view) + use(view)

    return Denoise(
        blocks=FixedBlocks(length=6), sample=Greedy(), confidence=Using(), transfer=TopK(1)
    )


@pytest.mark.parametrize(
    ("use", "recorded"),
    [
        (lambda view: 0.25 * view.step, True),
        (lambda view: 0.25 if view.step % 2 else 0.0, False),
        (lambda view: 0.25 if view.settled > 2 else 0.0, False),
        (lambda view: 0.25 if view.settled else 0.0, True),
        (lambda view: float(view.tokens_BN[0, 0]), False),
        (lambda view: torch.tensor([[0.25]], dtype=torch.float64), False),
        (lambda view: view.uniform_BP("here"), True),
    ],
    ids=["arithmetic", "branch", "steps", "settled", "read", "made", "noise"],
)
def test_numbers_of_the_host_are_not_baked_in(use, recorded):
    """A step that looks at its number on the host is not recorded; one that reckons with it is."""
    found = []
    for recorder in (None, Tapes()):
        network = toy_network()
        canvas = Canvas.create(PROMPTS[:2], 12, network.info.mask_id)
        session = Session(network, checked=False, recorder=recorder)
        steps = confidence_by(use).steps(Context({"main": session}), canvas)
        found.append((canvas, list(steps), session))
    assert not differences(*found)
    assert recorded == (recorder.made > 0)


def test_nothing_but_whether_rows_are_settled_is_told():
    """A comparison would be baked in."""
    steps = SomeSteps()
    assert steps
    with pytest.raises(NotRecordableError):
        _ = steps > 1
    with pytest.raises(NotRecordableError):
        _ = steps == 1
