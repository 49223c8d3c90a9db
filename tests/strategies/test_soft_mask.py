"""Soft masks carry the last prediction of an undecided position into the next step."""

from __future__ import annotations

import math

import attrs
import torch

from dlmkit.combinators.condition import Condition
from dlmkit.combinators.when_alone import WhenInputs
from dlmkit.denoise import Denoise
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.soft_mask import SoftMask
from dlmkit_strategies.transfer import TopK
from tests.strategies.steps import canvas_of, next_view, proposing, view_of

PLAIN = Denoise(sample=Greedy(), confidence=Probability(), transfer=TopK(k=1))


def test_without_strength_nothing_is_mixed() -> None:
    """Identity of the method at omega_s = 0."""
    soft = attrs.evolve(PLAIN, inputs=(SoftMask(strength=0.0),))
    assert decode(PLAIN, toy_networks()) == decode(soft, toy_networks())


def test_soft_masks_change_what_is_decoded() -> None:
    """With strength the network sees other inputs."""
    soft = attrs.evolve(PLAIN, inputs=(SoftMask(strength=1.0, offset=-3.0),))
    assert decode(PLAIN, toy_networks()).rows != decode(soft, toy_networks()).rows


def test_a_mask_is_fed_its_last_prediction() -> None:
    """The three best tokens share what the entropy allows; decided positions are left alone."""
    soft = SoftMask(strength=0.8, slope=2.0, offset=-1.0)
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 24)
    view = view_of(canvas_of([[None, None, None]]), strategy=soft)
    assert 0.0 == float(soft.mix(view).weights_BNK.abs().sum())
    view = proposing(view, [[0.1, 0.9, 0.2]], logits)
    after = next_view(soft, view, torch.tensor([[False, True, False]]))
    mixture = soft.mix(after)
    for place in range(3):
        p = logits[0, place].softmax(0)
        share = 0.8 / (1 + math.exp(-2.0 * (float((p * p.log()).sum()) + 1.0)))
        best = p.topk(3)
        expected = share * best.values / best.values.sum() * (place != 1)
        assert torch.equal(best.indices, mixture.ids_BNK[0, 2 + place])
        assert torch.allclose(expected, mixture.weights_BNK[0, 2 + place])


def test_soft_masks_under_a_condition_are_mixed_where_it_holds() -> None:
    """From the first step on, which is always, and from one that never comes."""
    soft = SoftMask(strength=1.0, offset=-3.0)
    plain = attrs.evolve(PLAIN, inputs=(soft,))
    always, never = (
        attrs.evolve(
            PLAIN, inputs=(WhenInputs(then=soft, condition=Condition(step=(first, None))),)
        )
        for first in (0, 99)
    )
    assert decode(plain, toy_networks()).rows == decode(always, toy_networks()).rows
    assert decode(PLAIN, toy_networks()).rows == decode(never, toy_networks()).rows
