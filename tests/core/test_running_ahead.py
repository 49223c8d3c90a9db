"""A loop that begins a step before it has read the flags of the one before decodes the same."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.errors import StrategyError
from dlmkit.host.flags import Flags
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session, SizeUnknownError
from dlmkit.roles import TransferRule
from dlmkit.testing.host_reads import reads_by_step
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import TopK
from tests.core.toy_presets import PRESETS, PROMPTS, decoded, differences, short, toys_for


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("preset", PRESETS)
def test_records_are_those_of_a_loop_that_waits(preset, rows):
    """What was begun in vain is undone, not counted, and leaves nothing in the store."""
    document = short(preset)
    waiting = decoded(document, rows=rows, runs_ahead=False)
    assert not differences(waiting, decoded(document, rows=rows, runs_ahead=True))


@pytest.mark.parametrize(("preset", "wasted"), [("llada", 0), ("fast-dllm-dual", 2), ("rcr", 1)])
def test_a_pass_is_wasted_where_nobody_could_know(preset, wasted):
    """None where the number of steps is fixed, one for each block, or one for each decode."""
    assert wasted == decoded(short(preset), runs_ahead=True, rows=1, steps=None)[2].wasted


def test_the_flags_of_a_step_are_read_after_the_next_has_begun():
    """Passes and reads, in the order in which they happen."""
    document, events = short("llada"), []
    network = toys_for(document)["main"]
    forward, read = network.forward, Flags.read

    def passing(*given):
        events.append("pass")
        return forward(*given)

    def reading(self):
        events.append("read")
        return read(self)

    canvas = Canvas.create(PROMPTS[:1], 8, network.info.mask_id)
    session = Session(network, checked=False, runs_ahead=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "forward", passing)
        patch.setattr(Flags, "read", reading)
        found = reads_by_step(document.pipeline.steps(Context({"main": session}), canvas))
    block = ["read", "pass", *["pass", "read"] * 3]
    assert [*block, *block, "read"] == events
    assert all(len(each) == 1 for each in found[1:])


def test_a_pass_that_may_be_unwanted_stores_nothing_then():
    """What it keeps hangs on the device's own verdict."""
    session = Session(toy_network(), checked=False)
    canvas = Canvas.create([[3, 1, 4]], 4, session.info.mask_id)
    plan = Plan.full(canvas.tokens_BN, commit=True)
    for wanted in (False, True):
        with session.only_if(torch.tensor(wanted)):
            session.predict([canvas.tokens_BN], canvas, plan.feed_BQ, plan, Need())
        assert wanted == bool(session.store.filled_BN.any())
        assert wanted == bool(session.store.filled_BN.all())


def test_a_pass_of_unknown_size_is_not_begun():
    """Asking how large it is would wait for the step before."""
    session = Session(toy_network(), checked=False)
    canvas = Canvas.create([[3, 1, 4]], 4, session.info.mask_id)
    plan = Plan.of(canvas.masked_BN)
    with session.only_if(torch.tensor(True)), pytest.raises(SizeUnknownError):
        session.predict([canvas.tokens_BN], canvas, plan.feed_BQ, plan, Need())
    assert 0 == session.counts.forwards


@attrs.frozen
class Lazy(TransferRule):
    """Commits nothing after the first step."""

    name = "lazy"

    def select(self, confidence_BP, view):
        return TopK(1).select(confidence_BP, view) & (view.step == 0)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_standstill_is_named_with_its_step(ahead):
    """Whether or not the next step has begun meanwhile."""
    pipeline = Denoise(
        blocks=FixedBlocks(length=4), sample=Greedy(), confidence=Probability(), transfer=Lazy()
    )
    network = toy_network()
    canvas = Canvas.create([[3, 1, 4]], 4, network.info.mask_id)
    session = Session(network, checked=False, runs_ahead=ahead)
    with pytest.raises(StrategyError, match="'lazy' made no progress in step 1, row 0"):
        list(pipeline.steps(Context({"main": session}), canvas))
    assert 2 == session.counts.forwards
