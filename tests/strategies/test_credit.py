"""CreditDecoding: what was favoured before gains."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.credit import Credit
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Threshold
from tests.strategies.steps import INFO, canvas_of, next_view, proposing, view_of


def by_hand(alpha: float, beta: float, gamma: float, steps: list[torch.Tensor]) -> torch.Tensor:
    """What is added in the last of these steps, computed by hand for one masked position."""
    credit = torch.zeros(INFO.vocab_size)
    for logits in steps:
        share = logits[0, 0].softmax(dim=-1)
        credit = beta * credit
        credit[share.argmax()] += share.max() ** gamma
    return alpha * credit.log1p()


@given(st.integers(1, 4), st.integers(0, 999))
def test_credit_grows_and_decays_as_published(count: int, seed: int) -> None:
    """Against a slow account of the same steps."""
    generator = torch.Generator().manual_seed(seed)
    steps = [torch.randn(1, 1, INFO.vocab_size, generator=generator) for _ in range(count)]
    rule = Credit(alpha=0.7, beta=0.8, gamma=0.2)
    view = view_of(canvas_of([[None]]), strategy=rule)
    for logits in steps[:-1]:
        view = next_view(rule, proposing(view, [[0.5]], logits), torch.tensor([[False]]))
    added = rule.edit(steps[-1], view) - steps[-1]
    torch.testing.assert_close(by_hand(0.7, 0.8, 0.2, steps), added[0, 0], atol=1e-5, rtol=1e-5)


def test_decided_positions_earn_nothing() -> None:
    """Their logits stay as they are."""
    rule = Credit()
    view = view_of(canvas_of([[4, None]]), strategy=rule)
    logits = torch.randn(1, 2, INFO.vocab_size)
    changed = (rule.edit(logits, view) != logits).any(dim=-1)
    assert [[False, True]] == changed.tolist()


@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_weight_zero_changes_nothing(threshold: float) -> None:
    """Identity of the method at alpha = 0."""
    base = Denoise(
        sample=Greedy(), confidence=Probability(), transfer=Threshold(threshold=threshold)
    )
    credited = Denoise(
        logits=(Credit(alpha=0.0),),
        sample=Greedy(),
        confidence=Probability(),
        transfer=Threshold(threshold=threshold),
    )
    assert decode(base, toy_networks()) == decode(credited, toy_networks())
