"""Adaptive parallel decoding with shared noise: what a share of 1 and of 0 come to."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit import generate, load_spec
from dlmkit.errors import StrategyError
from dlmkit.spec import SpecError
from dlmkit_strategies.diffusion_drafts import CoupledMixture, Mixture
from tests.draft_verify.evidence import one_round

SHORT = ["gen_length=12"]


def noisy(seed):
    """A round whose guesses were drawn from their laws with noise that is told."""
    draft, evidence, start = one_round(seed)
    noise_BEV = start.noise.gumbel_BPV("test", draft.position_BE, 24)
    token_BE = (draft.law_BEV + noise_BEV).argmax(dim=-1)
    return attrs.evolve(draft, token_BE=token_BE, noise_BEV=noise_BEV), evidence, start


def test_a_share_of_one_passes_everything():
    """The draw from the drafter's law with the noise of the guess is the guess."""
    for seed in range(5):
        draft, evidence, start = noisy(seed)
        assert CoupledMixture(share=1.0).judge(draft, evidence, start).ok_BE.all()


def test_a_share_of_nothing_draws_from_the_verifiers_law():
    """With the guess's own noise, told cell by cell."""
    draft, evidence, start = noisy(1)
    verdict = CoupledMixture(share=0.0).judge(draft, evidence, start)
    laws_BEV = evidence.entry.logits_BPV.double().log_softmax(dim=-1)
    for row in range(2):
        for entry in range(4):
            perturbed = laws_BEV[row, entry] + draft.noise_BEV[row, entry]
            assert int(perturbed.argmax()) == int(verdict.token_BE[row, entry])
    assert torch.equal(verdict.ok_BE, verdict.token_BE == draft.token_BE)


def test_without_noise_it_is_the_mixture_of_best_tokens():
    """As the published code decides."""
    draft, evidence, start = noisy(2)
    still = attrs.evolve(draft, noise_BEV=torch.zeros_like(draft.noise_BEV))
    for share in (0.0, 0.3, 0.7, 1.0):
        expected = Mixture(share=share).judge(still, evidence, start)
        found = CoupledMixture(share=share).judge(still, evidence, start)
        assert torch.equal(expected.ok_BE, found.ok_BE)


def test_guesses_without_their_noise_are_refused():
    """A drafter that tells none, with what to do."""
    draft, evidence, start = one_round(0)
    with pytest.raises(StrategyError, match="tells none"):
        CoupledMixture().judge(draft, evidence, start)


def test_guesses_that_were_not_drawn_are_refused_by_check():
    """Best tokens have no noise."""
    with pytest.raises(SpecError, match="does not draw them"):
        load_spec("apd-paper", ["pipeline.draft.pipeline.sample=greedy"])


def passes(*changes):
    """Passes of the verifier, and the text."""
    (result,) = generate("sort: 5 2 9 1", "apd-paper", overrides=[*SHORT, *changes], seed=2)
    return result.ledger, result.token_ids


def test_the_preset_keeps_the_shared_noise_through_a_decode():
    """A share of 1 keeps the first draft whole; nearer the verifier less is kept in a round."""
    whole, _ = passes("pipeline.judge.share=1.0")
    assert 1 == whole.forwards["verify"]
    assert whole.proposed == whole.accepted
    mixed, _ = passes("pipeline.judge.share=0.0")
    assert mixed.forwards["verify"] >= whole.forwards["verify"]
