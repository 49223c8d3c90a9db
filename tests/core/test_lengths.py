"""Rows that grow and shrink decode as they would alone, and never outgrow the context."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
import torch

from dlmkit.accounts.traces import TraceWriter, read_trace
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.errors import StrategyError
from dlmkit.network import NetworkInfo
from dlmkit.passes.session import Session
from dlmkit.roles import LengthController, Resize
from dlmkit.testing.plain import BestPosition, BestToken, FoursInOrder, Refresh, TokenScore
from dlmkit.testing.toy import toy_network
from tests.core.toy_runner import toy_runner

PROMPTS = ((3, 1, 4), (1, 5, 9, 2, 6), (5,))


@attrs.frozen
class Scripted(LengthController):
    """In stated steps, inserts behind and deletes at offsets from the end of the prompt."""

    name = "scripted"
    only_cuts: ClassVar[bool] = False

    insert: dict = attrs.field(factory=dict)
    delete: dict = attrs.field(factory=dict)
    waiting: tuple = ()

    def waits(self, prediction, view):
        """Every row, in the stated steps."""
        return torch.full_like(view.live_B, view.step in self.waiting)

    def resize(self, prediction, view):
        """What the script says of this step."""
        offset_BN = view.canvas.columns_N - view.canvas.start_B[:, None]
        insert_BN = torch.zeros_like(offset_BN)
        for offset, masks in self.insert.get(view.step, {}).items():
            insert_BN = insert_BN + masks * (offset_BN == offset)
        gone = torch.tensor(self.delete.get(view.step, ()), dtype=torch.int64)
        return Resize(insert_BN=insert_BN, delete_BN=torch.isin(offset_BN, gone))


def decode(length, prompts=PROMPTS, *, gen_length=4, network=None, first_sample=0, **slots):
    """Decode; return rows without padding, records, the canvas and the session."""
    network = network or toy_network()
    slots = {"sample": BestToken(), "confidence": TokenScore(), "transfer": BestPosition()} | slots
    canvas = Canvas.create(prompts, gen_length, network.info.mask_id, first_sample=first_sample)
    session = Session(network)
    pipeline = Denoise(length=length, **slots)
    records = list(pipeline.steps(Context({"main": session}, 0), canvas))
    pairs = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return [tokens[:end] for tokens, end in pairs], records, canvas, session


def test_inserted_masks_are_decided():
    """Every row gains two positions and takes two more passes."""
    rows, records, canvas, _ = decode(Scripted(insert={1: {0: 1, 3: 1}}))
    assert [9, 11, 7] == [len(row) for row in rows]
    assert 6 == len(records)
    assert not bool(canvas.masked_BN.any())
    assert [list(prompt) for prompt in PROMPTS] == [
        row[: len(prompt)] for row, prompt in zip(rows, PROMPTS, strict=True)
    ]


@pytest.mark.parametrize("blocks", [None, FoursInOrder()])
def test_a_row_decodes_as_it_does_alone(blocks):
    """Whatever its neighbours gain or lose."""
    script = Scripted(insert={0: {1: 3}, 2: {4: 2}}, delete={1: (0, 2), 3: (3,)})
    rows, *_ = decode(script, blocks=blocks)
    for number, prompt in enumerate(PROMPTS):
        assert rows[number] == decode(script, [prompt], first_sample=number, blocks=blocks)[0][0]


def test_no_controller_is_the_same_as_one_that_does_nothing():
    """A fixed length is the identity."""
    assert decode(None)[0] == decode(Scripted())[0]


def test_the_record_of_a_step_shows_its_new_layout():
    """The next step starts from the canvas that the record names."""
    _, records, canvas, _ = decode(Scripted(insert={1: {0: 2}}))
    assert [1] == [record.step for record in records if record.laid_out is not None]
    laid_out = records[1].laid_out
    assert torch.equal(laid_out.tokens_BN, records[2].before_BN)
    assert laid_out.tokens_BN.shape == canvas.tokens_BN.shape
    assert records[1].before_BN.shape == records[1].after_BN.shape


def test_waiting_rows_decide_nothing():
    """The pass is made and counted; the row only grows."""
    rows, records, _, session = decode(Scripted(insert={0: {3: 1}}, waiting=(0,)))
    assert [] == records[0].changes()
    assert len(rows[0]) == 3 + 5
    assert 6 == session.counts.forwards == len(records)


def test_a_row_that_waits_must_change():
    """Else it would wait for ever."""
    with pytest.raises(StrategyError, match="wait in step 0 without changing it"):
        decode(Scripted(waiting=(0,)))


def test_given_text_is_never_deleted():
    """Nor the last position that a row has left."""
    rows, *_ = decode(Scripted(delete={0: (-2, -1, 0, 1, 2, 3)}))
    assert [[*prompt] for prompt in PROMPTS] == [row[:-1] for row in rows]


def test_nothing_is_inserted_into_the_prompt():
    """Behind its last token is the first place that may grow."""
    rows, *_ = decode(Scripted(insert={0: {-2: 3, -1: 1}}))
    assert [8, 10, 6] == [len(row) for row in rows]


def test_stopped_and_finished_rows_keep_their_length():
    """Only rows that took part in the step are asked."""
    rows, records, *_ = decode(Scripted(insert={3: {0: 1}}), [(1, 2)], transfer=BestPosition())
    assert (7, 5) == (len(rows[0]), len(records))
    assert 6 == len(decode(Scripted(insert={4: {0: 1}}), [(1, 2)])[0][0])


def test_outgrowing_the_context_is_an_error():
    """The message names the row, its length and the limit."""

    class Narrow:
        network = toy_network()
        info: NetworkInfo = attrs.evolve(network.info, max_positions=9)

        def forward(self, inputs, need):
            return self.network.forward(inputs, need)

    with pytest.raises(StrategyError, match="makes row 1 10 tokens long in step 0"):
        decode(Scripted(insert={0: {0: 1}}), network=Narrow())


def test_nothing_is_inserted_from_max_steps_on():
    """So that a decode ends whatever the controller asks for."""
    endless = Scripted(insert={step: {0: 1} for step in range(30)})
    rows, records, *_ = decode(endless, max_steps=3)
    assert (4, 3 + 4 + 3) == (len(records), len(rows[0]))


def test_a_trace_replays_growing_rows(tmp_path):
    """The whole canvas stands in the line of each step that changed the layout."""
    daedal = "{use: daedal, limit: 20}"
    decode = toy_runner("llada", f"pipeline.length={daedal}").start([list(row) for row in PROMPTS])
    with TraceWriter(tmp_path / "trace.jsonl") as writer:
        records = list(writer.follow(decode))
    (trace,) = read_trace(tmp_path / "trace.jsonl")
    pairs = zip(decode.canvas.tokens_BN.tolist(), decode.canvas.length_B.tolist(), strict=True)
    assert [row[:end] for row, end in pairs] == trace.canvas_after(len(trace.steps))
    grown = [step.canvas is not None for step in trace.steps]
    assert grown == [record.laid_out is not None for record in records]
    assert any(grown)


def test_a_cut_keeps_what_is_stored():
    """Rows that lose their end leave the places of the rest alone."""
    cut = Scripted(delete={1: (3,)})
    rows, _, canvas, session = decode(cut, cache=Refresh())
    assert rows == decode(cut)[0]
    assert canvas.tokens_BN.shape == session.store.tag_BN.shape
