"""Records say what happened, and only that."""

from __future__ import annotations

import itertools

import pytest
import torch

from dlmkit.accounts.records import Change, Counts, StepRecord
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import RequestError
from dlmkit.passes.session import Session
from dlmkit.testing.toy import toy_network
from dlmkit.view import BlockSpan
from tests.core.runs import llada, run

ROW = torch.zeros(1, dtype=torch.int64)


def record(before, after, positions, confidence):
    return StepRecord(
        step=0,
        network="main",
        counts=Counts(),
        before_BN=torch.tensor([before]),
        after_BN=torch.tensor([after]),
        positions_BP=torch.tensor([positions]),
        proposals_BP=torch.tensor([[0] * len(positions)]),
        confidence_BP=torch.tensor([confidence]),
        live_B=torch.ones(1, dtype=torch.bool),
        block=BlockSpan(ROW, ROW, ROW, 1),
    )


def test_changes_are_listed_by_position_with_their_confidence():
    """Commits have a confidence; edits and reopened positions have none."""
    low = -float("inf")
    found = record([1, 9, 9, 4, 5], [1, 9, 7, 6, 9], [4, 2, 3, 1], [low, 0.5, low, 0.25])
    assert [
        Change(0, 2, 7, 0.5),
        Change(0, 3, 6, None),
        Change(0, 4, 9, None),
    ] == found.changes()


def test_filler_does_not_hide_a_confidence():
    """Filler is clamped onto the last position, which may be a real one as well."""
    low = -float("inf")
    assert [Change(0, 1, 7, 0.5)] == record([1, 9], [1, 7], [1, 1], [0.5, low]).changes()


def test_the_records_of_a_decode_join_up():
    """Each starts from the canvas that the one before left; counts grow by one call."""
    rows, records, session = run(llada(4, 2), toy_network(), [[1, 2], [3]], 8)
    for number, (one, other) in enumerate(itertools.pairwise(records)):
        assert torch.equal(one.after_BN, other.before_BN)
        assert (number, number + 1) == (one.step, one.counts.forwards)
    assert session.counts == records[-1].counts
    changed = {(each.row, each.position) for step in records for each in step.changes()}
    assert {(0, p) for p in range(2, 10)} | {(1, p) for p in range(1, 9)} == changed
    assert rows[0] == records[-1].after_BN[0].tolist()


def test_counts_add_calls_rows_and_positions():
    """Work executed, never what was merely asked for."""
    counts = Counts().plus(rows=2, fed=20).plus(rows=1, fed=5)
    assert Counts(forwards=2, rows=3, fed_positions=25) == counts
    filled = counts.plus(rows=2, fed=16, prefill=True)
    assert Counts(1, 2, 16, prefills=1, prefill_positions=16) == filled.since(counts)


def test_a_context_names_its_models():
    """A misspelt model is a request that cannot be met, and says what there is."""
    context = Context({"main": Session(toy_network()), "drafter": Session(toy_network(1))})
    assert Counts() == context.counts()["drafter"]
    with pytest.raises(RequestError, match="no model is called 'mian'") as caught:
        context.session("mian")
    assert "drafter, main" in str(caught.value)


def test_a_decode_may_be_left_at_any_step():
    """The loop is a generator: what was yielded stands, nothing else has run."""
    network = toy_network()
    canvas = Canvas.create([[1]], 8, network.info.mask_id)
    session = Session(network)
    steps = llada(4, 4).steps(Context({"main": session}), canvas)
    for _ in range(3):
        next(steps)
    assert (3, 5) == (session.counts.forwards, int(canvas.masked_BN.sum()))
