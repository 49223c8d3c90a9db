"""Mixtures of tokens are fed as the sum of their embeddings, each by its share.

Everything runs in float64 on the toy network.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.roles import Mixture
from dlmkit.testing.toy import toy_network

LOGITS = Need(logits=True)


@pytest.fixture
def canvas():
    return Canvas.create([[3, 1, 4], [2, 7, 1]], 3, 23)


def everywhere(canvas):
    return torch.arange(canvas.tokens_BN.shape[1]).expand_as(canvas.tokens_BN)


def mixture_of(canvas, token, share):
    """The same share of one token at the last two positions."""
    ids_BN1 = torch.full_like(canvas.tokens_BN, token)[..., None]
    weights_BN1 = torch.zeros(*canvas.tokens_BN.shape, 1, dtype=torch.float64)
    weights_BN1[:, -2:] = share
    return Mixture(ids_BN1, weights_BN1)


def predict(canvas, tokens_BN, mixture, plan=None, network=None):
    session = Session(network or toy_network())
    plan = plan or Plan.full(tokens_BN)
    (found,) = session.predict(
        [tokens_BN], canvas, everywhere(canvas), plan, LOGITS, mixture=mixture
    )
    return found


def test_a_whole_share_is_the_other_token(canvas):
    """And a share of nothing changes nothing."""
    swapped_BN = canvas.tokens_BN.clone()
    swapped_BN[:, -2:] = 9
    for share, tokens_BN in ((1.0, swapped_BN), (0.0, canvas.tokens_BN)):
        expected = predict(canvas, tokens_BN, None).logits_BPV
        found = predict(canvas, canvas.tokens_BN, mixture_of(canvas, 9, share)).logits_BPV
        assert torch.allclose(expected, found)


def test_half_a_share_is_the_mean_of_two_embeddings(canvas):
    """As if the vocabulary had a token with that embedding."""
    network, mean = toy_network(), toy_network()
    weight = mean.decoder.model.embed_tokens.weight
    with torch.no_grad():
        weight[23] = 0.5 * (weight[23] + weight[9])
    tokens_BN = torch.where(canvas.masked_BN, 9, canvas.tokens_BN)
    tokens_BN[:, -2:] = 23
    expected = predict(canvas, tokens_BN, None, network=mean).logits_BPV
    mixture = mixture_of(canvas, 9, 0.5)
    found = predict(canvas, tokens_BN, mixture, network=network).logits_BPV
    # The head reads its own weights, which are not tied to the embedding.
    assert torch.allclose(expected, found)


def test_the_order_of_feeding_does_not_count(canvas):
    """A mixture belongs to canvas positions."""
    feed_BQ = everywhere(canvas).flip(1)
    mixture = mixture_of(canvas, 9, 0.4)
    expected = predict(canvas, canvas.tokens_BN, mixture).logits_BPV
    turned = predict(canvas, canvas.tokens_BN, mixture, Plan(feed_BQ=feed_BQ)).logits_BPV
    assert torch.allclose(expected, turned)


def test_shadows_are_fed_as_they_are(canvas):
    """Nothing is mixed into a shadow."""
    plan = attrs.evolve(Plan.full(canvas.tokens_BN), shadow_BH=torch.tensor([[4], [5]]))
    swapped_BN = canvas.tokens_BN.clone()
    swapped_BN[:, -2:] = 9
    expected = predict(canvas, swapped_BN, None, plan).shadow.logits_BPV
    found = predict(canvas, canvas.tokens_BN, mixture_of(canvas, 9, 1.0), plan).shadow.logits_BPV
    assert torch.allclose(expected, found)


def test_an_engine_that_cannot_mix_is_named(canvas):
    """With what to do instead."""
    network = toy_network()
    network.info = attrs.evolve(network.info, engine="sealed", capabilities=frozenset())
    with pytest.raises(EngineError, match="'sealed' cannot feed mixtures"):
        predict(canvas, canvas.tokens_BN, mixture_of(canvas, 9, 0.5), network=network)
