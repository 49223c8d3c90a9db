"""Penalties and the min-p filter."""

from __future__ import annotations

from math import log

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit_strategies.penalties import EndPenalty, MinPFilter, RepetitionPenalty
from tests.strategies.steps import INFO, canvas_of, view_of

EOS = INFO.eos_ids[0]


def logits(seed: int, width: int = 3) -> torch.Tensor:
    """Random logits of one row."""
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(1, width, INFO.vocab_size, generator=generator)


@given(st.integers(0, 999))
def test_strength_zero_and_penalty_one_change_nothing(seed: int) -> None:
    """Identities of both penalties."""
    view, before = view_of(canvas_of([[None, 5, None]])), logits(seed)
    assert torch.equal(before, EndPenalty(strength=0.0).edit(before, view))
    assert torch.equal(before, RepetitionPenalty(penalty=1.0).edit(before, view))


@pytest.mark.parametrize(("step", "expected"), [(0, log(1e-3)), (5, log(1 - 0.5005 + 1e-3))])
def test_the_end_penalty_fades(step: int, expected: float) -> None:
    """Strength times log(1 - t + eps) on end tokens alone."""
    view = attrs.evolve(view_of(canvas_of([[None]])), step=step)
    change = EndPenalty(strength=2.0, steps=10).edit(torch.zeros(1, 1, INFO.vocab_size), view)
    assert 2.0 * expected == pytest.approx(change[0, 0, EOS].item(), rel=1e-5)
    assert 0.0 == change.sum().sub(change[0, 0, EOS]).abs().item()


@pytest.mark.parametrize(("prompt", "used"), [(True, {1, 5, 7}), (False, {5, 7})])
def test_tokens_of_the_row_become_less_likely(prompt: bool, used: set[int]) -> None:
    """Each once, whatever its sign; the prompt of the test is token 1, and masks do not count."""
    view, before = view_of(canvas_of([[5, None, 7, 5]])), logits(1, 4)
    after = RepetitionPenalty(penalty=2.0, prompt=prompt).edit(before, view)
    changed = {int(v) for v in (after != before)[0].any(dim=0).nonzero()}
    assert used == changed
    column = sorted(used)
    expected = torch.where(before > 0, before / 2, before * 2)[..., column]
    assert torch.equal(expected, after[..., column])


@given(st.integers(0, 999), st.floats(0.01, 1))
def test_min_p_keeps_what_is_likely_enough(seed: int, share: float) -> None:
    """Probabilities of at least that share of the largest."""
    before = logits(seed).double()
    kept = MinPFilter(p=share).edit(before, view_of(canvas_of([[None] * 3]))).isfinite()
    probability = before.softmax(dim=-1)
    floor = share * probability.amax(dim=-1, keepdim=True)
    assert torch.equal(probability >= floor * (1 - 1e-12), kept)
