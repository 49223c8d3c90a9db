"""Rules that prefer what comes first, and the streaming decodes that they are parts of."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.left_to_right import LeadingRun, Nearer
from dlmkit_strategies.transfer import TopK
from tests.models.checkpoints import loaded
from tests.strategies.steps import canvas_of, chosen, fresh, proposing, view_of

SURE = st.lists(st.floats(0, 1), min_size=1, max_size=7)


def run_of(row, threshold):
    """The first position, then the next ones until one is not sure."""
    taken = [0]
    for place in range(1, len(row)):
        if row[place] < threshold:
            break
        taken.append(place)
    return taken


@given(SURE, st.floats(0, 1))
def test_a_leading_run_ends_before_the_first_unsure_position(row, threshold):
    """Whatever is sure behind it waits."""
    assert [run_of(row, threshold)] == chosen(LeadingRun(threshold=threshold), fresh([row]))


def test_a_run_passes_over_decided_positions():
    """They are neither sure nor unsure."""
    view = proposing(view_of(canvas_of([[None, 3, None, None]])), [[0.1, 0.0, 0.9, 0.2]])
    assert [[0, 2]] == chosen(LeadingRun(threshold=0.5), view)


@given(SURE, st.floats(0, 0.5))
def test_distance_lowers_a_score_evenly(row, penalty):
    """From the first undecided position on."""
    view = fresh([row])
    prediction, tokens_BP = view.proposal.prediction, view.proposal.tokens_BP
    plain_BP = Probability().score(tokens_BP, prediction, view)
    expected = [score - penalty * place for place, score in enumerate(plain_BP[0].tolist())]
    found = Nearer(of=Probability(), penalty=penalty).score(tokens_BP, prediction, view)
    assert expected == pytest.approx(found[0].tolist(), abs=1e-6)


def test_a_large_penalty_means_strictly_from_left_to_right():
    """Then the first undecided position is always the best."""
    view = fresh([[0.1, 0.9, 0.8]])
    scorer = Nearer(of=Probability(), penalty=100.0)
    score_BP = scorer.score(view.proposal.tokens_BP, view.proposal.prediction, view)
    assert [[0]] == chosen(TopK(k=1), proposing(view, score_BP.tolist()))


@functools.cache
def network():
    """The reference checkpoint of WeDLM."""
    return loaded("wedlm", dtype="float32", mask_id=505).network


def logits_of(tokens, order):
    """Feed positions in an order under a plain causal mask; logits by position."""
    feed = torch.tensor([order])
    inputs = NetworkInputs(
        ids_BQ=torch.tensor([[tokens[place] for place in order]]),
        positions_BQ=feed,
        want_BS=torch.arange(len(order))[None],
        mask_new_B1QQ=torch.ones(len(order), len(order), dtype=torch.bool).tril()[None, None],
    )
    logits = network().forward(inputs, Need(logits=True)).logits_BSV[0]
    return dict(zip(order, logits, strict=True))


def streamed(prompt, count, length, limit, penalty):
    """WeDLM's engine without a cache: the tokens, and the passes it took."""
    tokens, passes = [*prompt, *[505] * count], 0
    while 505 in tokens:
        first = tokens.index(505)
        window = range(first, min(first + length, len(tokens)))
        masked = [place for place in window if tokens[place] == 505]
        known = [place for place in range(window.stop) if tokens[place] != 505]
        logits, passes = logits_of(tokens, [*known, *masked]), passes + 1
        logp = {place: logits[place].double().log_softmax(-1) for place in masked}
        cost = {
            place: float(-(each.exp() * each).sum()) + penalty * (place - first)
            for place, each in logp.items()
        }
        chosen_now = [place for place in masked if cost[place] < limit] or [
            min(masked, key=lambda place: cost[place])
        ]
        for place in chosen_now:
            tokens[place] = int(logits[place].argmax())
    return tokens, passes


def wedlm(length, limit, penalty, count):
    """The preset, greedy and without its end."""
    options = {
        "gen_length": count,
        "pipeline.blocks.count": length,
        "pipeline.transfer.limit": limit,
        "pipeline.confidence.penalty": penalty,
        "pipeline.sample.temperature": 0.0,
        "pipeline.stop": "[]",
    }
    return load_spec("wedlm", [f"{path}={value}" for path, value in options.items()])


@pytest.mark.parametrize(
    ("length", "limit", "penalty"), [(16, 0.4, 0.02), (6, 1.5, 0.1), (1, 0.4, 0.02), (5, 99.0, 0.0)]
)
def test_streaming_decodes_as_the_reordered_sequence_does(length, limit, penalty):
    """The masks fed after the known tokens, and no cache: same tokens, same passes."""
    prompt = [3, 14, 15, 92, 65, 35, 89]
    document = wedlm(length, limit, penalty, 20)
    canvas, session = Canvas.create([prompt], 20, 505), Session(network())
    for _ in document.pipeline.steps(Context({"main": session}), canvas):
        pass
    expected = streamed(prompt, 20, length, limit, penalty)
    assert expected == (canvas.tokens_BN[0].tolist(), session.counts.forwards)


def test_stored_keys_are_those_of_a_causal_prefill():
    """What a streaming decode leaves behind serves any engine that caches prefixes."""
    canvas, session = Canvas.create([[3, 14, 15, 92]], 16, 505), Session(network())
    for _ in wedlm(8, 0.6, 0.02, 16).pipeline.steps(Context({"main": session}), canvas):
        pass
    tokens = canvas.tokens_BN[0].tolist()
    filled_N = session.store.filled_BN[0]
    order = torch.arange(len(tokens))
    inputs = NetworkInputs(
        ids_BQ=canvas.tokens_BN,
        positions_BQ=order[None],
        want_BS=order[None],
        mask_new_B1QQ=(order[None] <= order[:, None])[None, None],
    )
    prefill = network().forward(inputs, Need()).fresh.keys_YBGCE[..., filled_N, :]
    stored = session.store.content.keys_YBGCE[..., filled_N, :]
    assert int(filled_N.sum()) > len(tokens) // 2
    torch.testing.assert_close(stored, prefill, atol=2e-4, rtol=1e-4)
