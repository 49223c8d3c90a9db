"""Sessions apply plans exactly: what is fed, read and kept, whatever the order and the company.

Everything runs in float64 on the toy network; positions are absolute, tokens random.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.testing.toy import toy_network

LOGITS = Need(logits=True)
COLUMNS = 10
BLOCKS = AttentionPattern(kind="block-causal", block=4)


def canvas_of(*prompts, new=2):
    return Canvas.create(prompts, new, 23)


@pytest.fixture
def canvas():
    """Two rows of ten positions, all alike on the outside."""
    return canvas_of([3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8, 1, 8])


@pytest.fixture
def session():
    return Session(toy_network())


def everywhere(canvas):
    return torch.arange(canvas.tokens_BN.shape[1]).expand_as(canvas.tokens_BN)


def predict(session, canvas, positions_BP, plan):
    (prediction,) = session.predict([canvas.tokens_BN], canvas, positions_BP, plan, LOGITS)
    return prediction.logits_BPV


def full(session, canvas, *, commit=False):
    plan = Plan.full(canvas.tokens_BN, commit=commit)
    return predict(session, canvas, everywhere(canvas), plan)


def span(canvas, start, stop):
    """Feed these positions and read all others from the store."""
    columns = torch.arange(canvas.tokens_BN.shape[1])
    feed_BQ = columns[start:stop].expand(len(canvas.tokens_BN), -1)
    outside_BN = ((columns < start) | (columns >= stop)).expand_as(canvas.tokens_BN)
    return Plan(feed_BQ=feed_BQ, cached_BN=outside_BN & canvas.inside_BN)


def close(one, other):
    return torch.allclose(one, other, rtol=0, atol=1e-9)


def test_scratch_passes_leave_no_trace(session, canvas):
    """Without a commit nothing is stored, and the same pass gives the same numbers."""
    first = full(session, canvas)
    assert session.store is None
    assert torch.equal(first, full(session, canvas))


def test_feeding_what_is_stored_is_one_full_pass(session, canvas):
    """Commit everything, then feed any part of the same tokens again."""
    whole = full(session, canvas, commit=True)
    for start, stop in [(0, 3), (4, 8), (9, 10)]:
        plan = span(canvas, start, stop)
        assert close(whole[:, start:stop], predict(session, canvas, plan.feed_BQ, plan))


def test_the_order_of_feeding_permutes_nothing_but_itself(session, canvas):
    """Wanted positions come back in the order in which they were wanted."""
    whole = full(session, canvas)
    generator = torch.Generator().manual_seed(0)
    shuffled = torch.stack([torch.randperm(COLUMNS, generator=generator) for _ in range(2)])
    assert close(whole, predict(session, canvas, everywhere(canvas), Plan(feed_BQ=shuffled)))


def test_feeding_more_than_is_wanted_changes_nothing(session, canvas):
    """A superset of the wanted positions is as good while nothing is stale."""
    whole = full(session, canvas, commit=True)
    want_BP = torch.tensor([[5, 6], [6, 5]])
    narrow, wide = span(canvas, 5, 7), span(canvas, 2, 9)
    expected = torch.stack([whole[0, [5, 6]], whole[1, [6, 5]]])
    assert close(expected, predict(session, canvas, want_BP, narrow))
    assert close(expected, predict(session, canvas, want_BP, wide))


def test_hidden_slots_can_hold_anything(session, canvas):
    """Poison in slots that no query may read changes no digit."""
    full(session, canvas, commit=True)
    plan = span(canvas, 3, 6)
    half_BN = plan.cached_BN & (torch.arange(COLUMNS) != 7)
    plan = attrs.evolve(plan, cached_BN=half_BN)
    clean = predict(session, canvas, plan.feed_BQ, plan)
    for slot in (3, 4, 5, 7):
        session.store.content.keys_YBGCE[:, :, :, slot] = 1e4
        session.store.content.values_YBGCE[:, :, :, slot] = 1e4
    assert torch.equal(clean, predict(session, canvas, plan.feed_BQ, plan))
    session.store.content.values_YBGCE[:, :, :, 8] = 1e4
    assert not close(clean, predict(session, canvas, plan.feed_BQ, plan))


def test_filler_queries_change_nothing(session, canvas):
    """Rows that feed fewer positions are filled up; filler sees itself and is never kept."""
    whole = full(session, canvas, commit=True)
    feed_BQ = torch.tensor([[4, 5, 6], [4, 0, 0]])
    valid_BQ = torch.tensor([[True, True, True], [True, False, False]])
    plan = Plan.of(
        torch.zeros(2, COLUMNS, dtype=torch.bool).scatter(1, feed_BQ, valid_BQ),
        cached_BN=torch.ones(2, COLUMNS, dtype=torch.bool),
        commit_BN=torch.ones(2, COLUMNS, dtype=torch.bool),
    )
    before = session.store.snapshot()
    got = predict(session, canvas, torch.tensor([[4], [4]]), plan)
    assert close(whole[:, 4:5], got)
    assert close(before.content.values_YBGCE, session.store.content.values_YBGCE)


def test_a_row_is_the_same_alone_and_in_a_batch_of_uneven_rows(session):
    """Padding is hidden as a key and sees only itself."""
    prompts = [3, 1, 4, 1, 5, 9, 2, 6], [2, 7], [1, 8, 2, 8]
    together = full(session, canvas_of(*prompts))
    for row, prompt in enumerate(prompts):
        alone = full(Session(toy_network()), canvas_of(prompt))
        assert close(alone[0], together[row, : len(prompt) + 2])


def test_tags_tell_which_reads_are_stale(session, canvas):
    """The token at compute time against the token now; empty slots are not stale."""
    feed_BQ = everywhere(canvas)
    predict(session, canvas, feed_BQ, Plan(feed_BQ=feed_BQ, commit_BQ=feed_BQ < 9))
    assert not session.store.filled_BN[:, 9].any()
    tokens_BN = canvas.tokens_BN.clone()
    tokens_BN[0, 8] = tokens_BN[1, 2] = tokens_BN[0, 9] = 11
    stale = session.store.stale_BN(tokens_BN).nonzero().tolist()
    assert [[0, 8], [1, 2]] == stale


def test_rolling_back_restores_every_read(session, canvas):
    """A snapshot survives later commits, and can be returned to more than once."""
    full(session, canvas, commit=True)
    plan = span(canvas, 2, 5)
    before, saved = predict(session, canvas, plan.feed_BQ, plan), session.store.snapshot()
    for token in (1, 2):
        changed = attrs.evolve(canvas, tokens_BN=torch.full_like(canvas.tokens_BN, token))
        full(session, changed, commit=True)
        assert not close(before, predict(session, canvas, plan.feed_BQ, plan))
        session.store.rollback(saved)
        assert torch.equal(before, predict(session, canvas, plan.feed_BQ, plan))


def test_truncating_forgets_what_lies_beyond(session, canvas):
    """Each row has a length of its own."""
    full(session, canvas, commit=True)
    session.store.truncate(torch.tensor([3, 6]))
    assert [3, 6] == session.store.filled_BN.sum(dim=1).tolist()
    session.store.invalidate(session.store.filled_BN & (torch.arange(COLUMNS) == 1))
    assert [2, 5] == session.store.filled_BN.sum(dim=1).tolist()


def test_finished_blocks_are_exact_under_block_causal_attention():
    """Keys and values of a clean pass over a finished block are those of a full forward."""
    session = Session(toy_network(attention=BLOCKS))
    canvas = canvas_of([3, 1, 4, 1, 5, 9], new=2)
    whole = full(Session(toy_network(attention=BLOCKS)), canvas)
    first = Plan(feed_BQ=torch.arange(4)[None], commit_BQ=torch.ones(1, 4, dtype=torch.bool))
    predict(session, canvas, torch.arange(4)[None], first)
    second = span(canvas, 4, 8)
    assert close(whole[:, 4:], predict(session, canvas, second.feed_BQ, second))


def test_the_shift_needs_the_position_before(canvas):
    """A shifted network predicts position p from row p-1; the error says what to feed."""
    session = Session(toy_network(logit_shift=1))
    plain = full(Session(toy_network()), canvas)
    plan = Plan(feed_BQ=everywhere(canvas))
    assert close(plain[:, :-1], predict(session, canvas, everywhere(canvas)[:, 1:], plan))
    full(session, canvas, commit=True)
    with pytest.raises(EngineError, match="does not feed a position whose prediction is wanted"):
        predict(session, canvas, torch.tensor([[4], [4]]), span(canvas, 4, 6))


def test_reading_what_was_never_stored_is_refused(session, canvas):
    """Zeros are no keys."""
    with pytest.raises(EngineError, match="reads a position that was never stored"):
        predict(session, canvas, torch.tensor([[4], [4]]), span(canvas, 4, 6))


def test_counts_are_of_what_was_executed(session, canvas):
    """Calls, rows over all calls, and fed positions of all rows, variants included."""
    full(session, canvas, commit=True)
    plan = span(canvas, 4, 7)
    variants = [canvas.tokens_BN, torch.full_like(canvas.tokens_BN, 1)]
    assert 2 == len(
        Session(session.network).predict(
            variants, canvas, everywhere(canvas), Plan.full(canvas.tokens_BN), LOGITS
        )
    )
    predict(session, canvas, plan.feed_BQ, plan)
    counts = session.counts
    assert (2, 4, 2 * 10 + 2 * 3) == (counts.forwards, counts.rows, counts.fed_positions)


def test_variants_run_as_rows_of_one_pass(session, canvas):
    """Each variant gets its own prediction, in order."""
    other = canvas.tokens_BN.flip(1)
    plan = Plan.full(canvas.tokens_BN)
    both = session.predict([canvas.tokens_BN, other], canvas, everywhere(canvas), plan, LOGITS)
    turned = attrs.evolve(canvas, tokens_BN=other)
    assert (1, 4) == (session.counts.forwards, session.counts.rows)
    assert close(full(Session(session.network), canvas), both[0].logits_BPV)
    assert close(full(Session(session.network), turned), both[1].logits_BPV)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_predictions_that_are_no_numbers_are_refused(value):
    """In the first pass, whatever the cause: nothing that follows could be right."""
    network = toy_network()
    with torch.no_grad():
        network.decoder.model.norm.weight.fill_(value)
    canvas = canvas_of([3, 1, 4])
    with pytest.raises(EngineError, match="predicts NaN or infinite values") as caught:
        Session(network).predict(
            [canvas.tokens_BN], canvas, everywhere(canvas), Plan.full(canvas.tokens_BN), Need()
        )
    assert "--dtype float32" in caught.value.hint
