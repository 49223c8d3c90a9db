"""What attention saw is told truly, and telling it changes nothing.

Legend: B rows, N canvas positions, Q fed positions, C cached positions, Y layers.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.models.attention_tap import AttentionTap
from dlmkit.need import Need
from dlmkit.network import NetworkOutput
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.passes.taps import Taps
from dlmkit.testing.toy import toy_network

BOTH = Need(logits=True, taps=frozenset({"relevance", "rollout"}))


@pytest.fixture
def canvas():
    return Canvas.create([[3, 1, 4, 1, 5], [2, 7]], 3, 23)


def everywhere(canvas):
    return torch.arange(canvas.tokens_BN.shape[1]).expand_as(canvas.tokens_BN)


def predict(session, canvas, plan, need=BOTH):
    wanted = torch.zeros_like(canvas.tokens_BN[:, :1]) + plan.feed_BQ[:, :1]
    (found,) = session.predict([canvas.tokens_BN], canvas, wanted, plan, need)
    return found


def watching(plan, canvas):
    """The same plan, with the queries of all positions watched."""
    return attrs.evolve(plan, watched_BN=torch.ones_like(canvas.tokens_BN, dtype=torch.bool))


def test_weights_are_the_mean_over_heads_of_masked_softmax():
    """Against loops over rows, heads and queries, with keys that heads share."""
    torch.manual_seed(0)
    q_BHQE, keys_BGKE = torch.randn(2, 4, 3, 8).double(), torch.randn(2, 2, 5, 8).double()
    mask_B1QK = torch.rand(2, 1, 3, 5) < 0.7
    mask_B1QK[..., 0] = True
    tap = AttentionTap(weights=True, watch_BQ=None)
    tap.note(q_BHQE, keys_BGKE[:, :, 2:], keys_BGKE, mask_B1QK)
    for row in range(2):
        for query in range(3):
            expected = torch.zeros(5).double()
            for head in range(4):
                scores = keys_BGKE[row, head // 2] @ q_BHQE[row, head, query] / 8**0.5
                scores[~mask_B1QK[row, 0, query]] = -torch.inf
                expected += scores.softmax(0) / 4
            assert torch.allclose(expected, tap.attention_YBQK[0, row, query])


def test_relevance_is_a_product_with_the_mean_of_the_watched_queries():
    """Against loops over rows, heads and keys; zeros where nothing is watched."""
    torch.manual_seed(0)
    q_BHQE, fresh_BGQE = torch.randn(2, 4, 3, 8).double(), torch.randn(2, 2, 3, 8).double()
    tap = AttentionTap(weights=False, watch_BQ=torch.tensor([[True, False, True], [False] * 3]))
    tap.note(q_BHQE, fresh_BGQE, fresh_BGQE, None)
    for key in range(3):
        products = [
            fresh_BGQE[0, head // 2, key] @ q_BHQE[0, head, [0, 2]].mean(0) for head in range(4)
        ]
        assert torch.allclose(sum(products) / 4, tap.relevance_YBQ[0, 0, key])
    assert torch.equal(torch.zeros(3).double(), tap.relevance_YBQ[0, 1])


def test_telling_changes_no_prediction(canvas):
    """Logits are the same, and there is one entry for each layer; unwatched, none."""
    plan = watching(Plan.full(canvas.tokens_BN), canvas)
    told = predict(Session(toy_network()), canvas, plan)
    plain = predict(Session(toy_network()), canvas, plan, Need(logits=True))
    assert plain.taps is None
    assert torch.equal(plain.logits_BPV, told.logits_BPV)
    assert (*canvas.tokens_BN.shape, 2) == tuple(told.taps.relevance_BNY.shape)
    unwatched = predict(Session(toy_network()), canvas, Plan.full(canvas.tokens_BN))
    assert unwatched.taps.relevance_BNY is None


def matrix_rollout(attention_YBQK, plan, canvas, row):
    """The product of whole matrices, and its sum over rows."""
    columns = canvas.tokens_BN.shape[1]
    fed = plan.feed_BQ.shape[1]
    total = torch.eye(columns).double()
    for attention_BQK in attention_YBQK:
        matrix = torch.eye(columns).double()
        for query in range(fed):
            position = int(plan.feed_BQ[row, query])
            matrix[position] = 0
            if attention_BQK.shape[-1] > fed:
                matrix[position] += attention_BQK[row, query, :columns]
            for key in range(fed):
                other = int(plan.feed_BQ[row, key])
                matrix[position, other] += attention_BQK[row, query, key - fed]
        total = (matrix + torch.eye(columns)) / 2 @ total
    inside = canvas.inside_BN[row].double()
    return (total * inside[:, None]).sum(0) * inside


@pytest.mark.parametrize("cached", [False, True])
def test_rollout_is_the_product_of_all_layers(cached):
    """The sum carried backwards is that over whole matrices, also where little is fed."""
    torch.manual_seed(1)
    canvas = Canvas.create([[3, 1, 4], [2, 7, 1]], 3, 23)
    feed_BQ = torch.tensor([[4, 2, 5], [0, 3, 1]]) if cached else everywhere(canvas)
    keys = feed_BQ.shape[1] + (6 if cached else 0)
    attention_YBQK = torch.rand(3, 2, feed_BQ.shape[1], keys).double()
    if cached:
        hidden_BN = torch.zeros(2, 6, dtype=torch.bool).scatter(1, feed_BQ, True)
        attention_YBQK[..., :6] *= ~hidden_BN[None, :, None]
    attention_YBQK /= attention_YBQK.sum(-1, keepdim=True)
    plan = Plan(feed_BQ=feed_BQ)
    output = NetworkOutput(pack=None, logits_BSV=None, fresh=None, attention_YBQK=attention_YBQK)
    found_BN = Taps.of(output, plan, canvas).rollout_BN
    for row in range(2):
        assert torch.allclose(matrix_rollout(attention_YBQK, plan, canvas, row), found_BN[row])


def test_filler_and_padding_take_no_part(canvas):
    """A row is told what it is told alone."""
    session = Session(toy_network())
    predict(session, canvas, Plan.full(canvas.tokens_BN, commit=True), Need(logits=True))
    compute_BN = canvas.masked_BN & canvas.inside_BN
    compute_BN[0, 2] = True
    plan = watching(Plan.of(compute_BN, cached_BN=~compute_BN), canvas)
    together = predict(session, canvas, plan).taps
    small = Canvas.create([[2, 7]], 3, 23)
    session = Session(toy_network())
    predict(session, small, Plan.full(small.tokens_BN, commit=True), Need(logits=True))
    masks = watching(Plan.of(small.masked_BN, cached_BN=~small.masked_BN), small)
    alone = predict(session, small, masks).taps
    assert torch.allclose(alone.rollout_BN[0], together.rollout_BN[1, :5])
    assert torch.equal(torch.zeros(3).double(), together.rollout_BN[1, 5:])
    fed_N = small.masked_BN[0]
    assert torch.allclose(alone.relevance_BNY[0, fed_N], together.relevance_BNY[1, :5][fed_N])


def test_an_engine_that_cannot_tell_is_named(canvas):
    """Before anything runs, with what to do instead."""
    network = toy_network()
    network.info = attrs.evolve(network.info, engine="sealed", capabilities=frozenset())
    with pytest.raises(EngineError, match="'sealed' cannot tell what attention saw") as caught:
        predict(Session(network), canvas, Plan.full(canvas.tokens_BN))
    assert "torch engine" in str(caught.value.hint)
