"""Samplers, scores and edits of the distribution do what their formulas say."""

from __future__ import annotations

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.prediction import Prediction, score_pack
from dlmkit.testing.conformance.scenes import toy_info
from dlmkit.testing.generators import logits, predictions, views
from dlmkit.view import View, whole_region, window
from dlmkit_strategies.confidence import (
    Demote,
    Margin,
    NegativeEntropy,
    Perturbed,
    Probability,
    RandomOrder,
)
from dlmkit_strategies.guide import ClassifierFree
from dlmkit_strategies.logits import Suppress, Temperature, TopKFilter, TopPFilter
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.stop import EndOfText

EVERYTHING = Need(top=3, entropy=True, logits=True)


@st.composite
def predicted(draw):
    """A view and a prediction with all statistics."""
    view = draw(views())
    return view, draw(predictions(view, EVERYTHING))


def softmax(prediction):
    return prediction.logits_BPV.softmax(dim=-1)


@given(predicted())
def test_greedy_is_the_most_probable_token_but_the_mask(scene):
    """And a draw at temperature 0 is the same."""
    view, prediction = scene
    logits_BPV = prediction.logits_BPV.clone()
    logits_BPV[..., view.info.mask_id] = -torch.inf
    expected = logits_BPV.argmax(dim=-1)
    assert torch.equal(expected, Greedy().propose(prediction, view))
    assert torch.equal(expected, Categorical(temperature=0.0).propose(prediction, view))


@given(predicted())
def test_a_filter_that_leaves_one_token_decides_the_draw(scene):
    """Samplers read the filtered distribution, scores the raw one unless they say otherwise."""
    view, prediction = scene
    filtered_BPV = torch.full_like(prediction.logits_BPV, -torch.inf)
    filtered_BPV[..., 3] = 1.0
    pack = score_pack(filtered_BPV, EVERYTHING)
    both = attrs.evolve(prediction, sampling=Prediction(pack=pack, logits_BPV=filtered_BPV))
    tokens_BP = Categorical(temperature=1.0).propose(both, view)
    assert (tokens_BP == 3).all()
    raw_BP = Probability().score(tokens_BP, both, view)
    assert torch.allclose(softmax(prediction)[..., 3], raw_BP, atol=1e-6)
    assert torch.allclose(torch.ones(()), Probability(of="filtered").score(tokens_BP, both, view))


@given(predicted())
def test_scores_agree_with_the_softmax(scene):
    """Probability of the proposal, gap of the two best, negative entropy."""
    view, prediction = scene
    tokens_BP = Greedy().propose(prediction, view)
    probability_BPV = softmax(prediction)
    chosen_BP = probability_BPV.gather(-1, tokens_BP[..., None])[..., 0]
    assert torch.allclose(chosen_BP, Probability().score(tokens_BP, prediction, view), atol=1e-6)
    two_BP2 = probability_BPV.topk(2, dim=-1).values
    gap_BP = two_BP2[..., 0] - two_BP2[..., 1]
    assert torch.allclose(gap_BP, Margin().score(tokens_BP, prediction, view), atol=1e-6)
    entropy_BP = torch.distributions.Categorical(probs=probability_BPV).entropy()
    found_BP = NegativeEntropy().score(tokens_BP, prediction, view)
    assert torch.allclose(-entropy_BP, found_BP, atol=1e-4)


@given(predicted())
def test_a_cold_perturbation_keeps_the_order(scene):
    """And a random order is one number for each position, the same for any distribution."""
    view, prediction = scene
    tokens_BP = Greedy().propose(prediction, view)
    cold = Perturbed(of=Probability(), temperature=1e-9).score(tokens_BP, prediction, view)
    plain_BP = Probability().score(tokens_BP, prediction, view).double()
    assert torch.allclose(plain_BP, cold * 1e-9, atol=1e-6)
    other = RandomOrder().score(tokens_BP, prediction, view)
    assert torch.equal(other, RandomOrder().score(tokens_BP + 1, prediction, view))


@given(predicted())
def test_demoted_proposals_come_last(scene):
    """End of text and end of turn alike."""
    view, prediction = scene
    ends = (*view.info.eos_ids, *view.info.eot_ids)
    tokens_BP = torch.full_like(view.tokens_BP, ends[-1])
    tokens_BP[:, 0] = 1
    score_BP = Demote(of=Probability()).score(tokens_BP, prediction, view)
    assert (score_BP[:, 1:] == -torch.inf).all()
    assert score_BP[:, 0].isfinite().all()


@pytest.mark.parametrize("tokens", ["eos", "eot", "both"])
@given(scene=predicted())
def test_suppressed_tokens_get_no_probability(scene, tokens):
    """The others keep their logits."""
    view, prediction = scene
    banned = {"eos": view.info.eos_ids, "eot": view.info.eot_ids}
    banned["both"] = banned["eos"] + banned["eot"]
    edited_BPV = Suppress(tokens=tokens).edit(prediction.logits_BPV, view)
    gone = edited_BPV[0, 0].isinf().nonzero().flatten().tolist()
    assert sorted(banned[tokens]) == gone
    kept_BPV = ~edited_BPV.isinf()
    assert torch.equal(prediction.logits_BPV[kept_BPV], edited_BPV[kept_BPV])


@given(logits(vocabulary=8), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_top_p_keeps_the_smallest_sufficient_set(logits_BPV, p):
    """A token goes when those before it already exceed p; the best one stays."""
    edited_BPV = TopPFilter(p=p).edit(logits_BPV, None)
    for row_V, kept_V in zip(logits_BPV.flatten(0, 1), edited_BPV.flatten(0, 1), strict=True):
        probabilities = row_V.softmax(dim=-1).tolist()
        order = sorted(range(8), key=lambda token: (-float(row_V[token]), token))
        mass, expected = 0.0, set()
        for token in order:
            if mass > p + 1e-6:
                break
            expected.add(token)
            mass += probabilities[token]
        found = set(kept_V.isfinite().nonzero().flatten().tolist())
        assert order[0] in found
        # Within rounding of the border either answer is right.
        assert all(
            abs(sum(probabilities[t] for t in order[: order.index(token)]) - p) < 1e-5
            for token in expected ^ found
        )


@given(logits(vocabulary=8), st.integers(1, 12))
def test_top_k_keeps_k_and_ties(logits_BPV, k):
    """Whatever is at least as large as the k-th."""
    edited_BPV = TopKFilter(k=k).edit(logits_BPV, None)
    for row_V, kept_V in zip(logits_BPV.flatten(0, 1), edited_BPV.flatten(0, 1), strict=True):
        limit = sorted(row_V.tolist(), reverse=True)[min(k, 8) - 1]
        expected = [value if value >= limit else -torch.inf for value in row_V.tolist()]
        assert expected == kept_V.tolist()


@given(logits())
def test_temperature_divides(logits_BPV):
    """Nothing else."""
    assert torch.allclose(logits_BPV / 0.5, Temperature(temperature=0.5).edit(logits_BPV, None))


@given(predicted(), st.sampled_from([0.0, 0.5, 2.0]))
def test_guidance_extrapolates(scene, scale):
    """From the prediction without the given text through the one with it."""
    view, prediction = scene
    guide = ClassifierFree(scale=scale)
    given_BN, hidden_BN = guide.variants(view.tokens_BN, view)
    assert torch.equal(view.tokens_BN, given_BN)
    assert (hidden_BN[view.canvas.given_BN] == view.canvas.mask_id).all()
    one, other = prediction.logits_BPV, prediction.logits_BPV.flip(-1)
    expected = one + scale * (one - other)
    assert torch.allclose(expected, guide.combine([one, other], view), atol=1e-4)


def test_draws_follow_the_distribution():
    """The Gumbel-max rule, keyed by position: shares over many positions."""
    view = one_long_view()
    logits_BPV = torch.tensor([0.5, 0.3, 0.2]).log().expand(1, 6000, 3)
    padded = torch.nn.functional.pad(logits_BPV, (0, 21), value=-torch.inf)
    prediction = Prediction(pack=score_pack(padded, Need()), logits_BPV=padded)
    tokens_BP = Categorical(temperature=1.0).propose(prediction, view)
    shares = torch.bincount(tokens_BP.flatten(), minlength=3) / 6000
    assert torch.allclose(torch.tensor([0.5, 0.3, 0.2]), shares[:3], atol=0.02)


def one_long_view():
    canvas = Canvas.create([[1]], 6000, 23)
    block = whole_region(canvas)
    positions_BP, inside_BP = window(block.start_B, block.stop_B, block.width, 6001)
    return View(
        canvas=canvas,
        info=toy_info(),
        noise=Noise(3, canvas.samples_B, 0),
        step=0,
        block=block,
        block_step_B=block.index_B,
        block_masks_B=canvas.initial_masks_B,
        positions_BP=positions_BP,
        inside_BP=inside_BP,
    )


@given(views())
def test_a_row_stops_at_an_end_with_nothing_open_before_it(view):
    """Given text never stops a row."""
    ends = {*view.info.eos_ids, *view.info.eot_ids}
    stopped = EndOfText().stop(view).tolist()
    for row, tokens in enumerate(view.tokens_BN.tolist()):
        generated = [
            (token, bool(view.canvas.masked_BN[row, place]))
            for place, token in enumerate(tokens)
            if not bool(view.canvas.given_BN[row, place])
        ]
        first = next((i for i, (token, _) in enumerate(generated) if token in ends), None)
        expected = first is not None and not any(open_ for _, open_ in generated[:first])
        assert expected == stopped[row]
