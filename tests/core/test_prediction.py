"""Statistics of a distribution are what a slow computation says."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given

from dlmkit.need import Need
from dlmkit.prediction import Prediction, score_pack
from dlmkit.testing.generators import logits

EVERYTHING = Need(top=3, entropy=True, current=True, logits=True)


def slow(row):
    """Probabilities of one position, in plain Python."""
    top = max(row)
    weights = [math.exp(each - top) for each in row]
    return [weight / sum(weights) for weight in weights], top + math.log(sum(weights))


@given(logits(vocabulary=6))
def test_the_pack_agrees_with_plain_python(logits_BPV):
    """Top candidates, log-sum-exp, entropy and the current token's log-probability."""
    current_BP = torch.ones(logits_BPV.shape[:2], dtype=torch.int64)
    pack = score_pack(logits_BPV, EVERYTHING, current_BP)
    for b, p in torch.cartesian_prod(*map(torch.arange, logits_BPV.shape[:2])).tolist():
        row = logits_BPV[b, p].tolist()
        probabilities, lse = slow(row)
        order = sorted(range(6), key=lambda token: (-row[token], token))
        assert order[:3] == pack.top_ids_BPK[b, p].tolist()
        expected = [probabilities[token] for token in order[:3]]
        assert pack.top_logp_BPK[b, p].exp().tolist() == pytest.approx(expected, abs=1e-6)
        assert float(pack.lse_BP[b, p]) == pytest.approx(lse, abs=1e-5)
        entropy = -sum(each * math.log(each) for each in probabilities if each > 0)
        assert float(pack.entropy_BP[b, p]) == pytest.approx(entropy, abs=1e-5)
        current = float(pack.current_logp_BP[b, p].exp())
        assert current == pytest.approx(probabilities[1], abs=1e-6)


@given(logits())
def test_a_constant_added_to_the_logits_changes_no_probability(logits_BPV):
    """A softmax does not know where zero is."""
    one = score_pack(logits_BPV, Need(top=2, entropy=True))
    other = score_pack(logits_BPV + 7.0, Need(top=2, entropy=True))
    assert torch.equal(one.top_ids_BPK, other.top_ids_BPK)
    assert torch.allclose(one.top_logp_BPK, other.top_logp_BPK, atol=1e-4)
    assert torch.allclose(one.entropy_BP, other.entropy_BP, atol=1e-4)


@pytest.mark.parametrize("lead", [5.0, 18.0, 30.0, 60.0])
def test_certainty_is_told_apart_to_relative_precision(lead):
    """What a log-sum-exp of twenty would round to zero, or to a multiple of two millionths."""
    logits_BPV = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    logits_BPV[..., 7] = lead
    current_BP = torch.full((2, 3), 7)
    single, double = (
        score_pack(each_BPV, EVERYTHING, current_BP)
        for each_BPV in (logits_BPV, logits_BPV.double())
    )
    guess = Prediction(pack=single, logits_BPV=logits_BPV).logp_of(current_BP)
    close = {"atol": 0, "rtol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(single.top_logp_BPK, double.top_logp_BPK, **close)
    torch.testing.assert_close(single.current_logp_BP, double.current_logp_BP, **close)
    torch.testing.assert_close(single.entropy_BP, double.entropy_BP, **close)
    torch.testing.assert_close(guess, double.current_logp_BP, **close)


@pytest.mark.parametrize("top", [1, 2, 4])
def test_ties_go_to_the_lowest_token(top):
    """Whatever order the library's top-k has among equals."""
    logits_BPV = torch.zeros(2, 3, 9)
    ids_BPK = score_pack(logits_BPV, Need(top=top)).top_ids_BPK
    assert list(range(top)) == ids_BPK[1, 2].tolist()


def test_half_precision_is_widened_first():
    """Statistics are float32 at least."""
    pack = score_pack(torch.zeros(1, 1, 4, dtype=torch.bfloat16), Need(top=2, entropy=True))
    assert {torch.float32} == {pack.lse_BP.dtype, pack.top_logp_BPK.dtype, pack.entropy_BP.dtype}


def test_forbidden_tokens_leave_the_entropy_finite():
    """Minus infinity is a probability of zero."""
    logits_BPV = torch.tensor([[[0.0, 0.0, -torch.inf]]])
    pack = score_pack(logits_BPV, Need(entropy=True))
    assert float(pack.entropy_BP) == pytest.approx(math.log(2))


def test_more_candidates_than_tokens_are_all_tokens():
    """A small vocabulary is no error."""
    assert (1, 1, 3) == score_pack(torch.zeros(1, 1, 3), Need(top=8)).top_ids_BPK.shape


def test_a_token_outside_the_kept_candidates_has_no_known_probability():
    """Without logits the answer is minus infinity, with logits it is exact."""
    logits_BPV = torch.tensor([[[2.0, 1.0, 0.0]]])
    pack = score_pack(logits_BPV, Need(top=2))
    rare, common = torch.tensor([[2]]), torch.tensor([[1]])
    assert -torch.inf == float(Prediction(pack=pack).logp_of(rare))
    exact = Prediction(pack=pack, logits_BPV=logits_BPV)
    assert torch.allclose(exact.logp_of(common), Prediction(pack=pack).logp_of(common))
    assert torch.isfinite(exact.logp_of(rare)).all()


def test_statistics_that_nobody_needs_are_not_computed():
    """The vocabulary-sized exponential costs time."""
    pack = score_pack(torch.zeros(1, 1, 3), Need())
    assert (None, None) == (pack.entropy_BP, pack.current_logp_BP)


def test_a_union_of_needs_covers_each_of_them():
    """What is returned is the least that everybody can live with."""
    union = Need.union([Need(top=2), Need(entropy=True), Need(current=True, top=1)])
    assert Need(top=2, entropy=True, current=True) == union
    assert Need() == Need.union([])
