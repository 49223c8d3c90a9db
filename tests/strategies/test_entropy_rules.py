"""Entropy rules against slow oracles and against the rules they turn into."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit_strategies.entropy_rules import EntropyBound, EntropyThreshold
from dlmkit_strategies.transfer import TopK
from tests.strategies.steps import INFO, chosen, fresh

SEEDS = st.integers(0, 10_000)


def entropic(seed: int, rows: int = 2, width: int = 6) -> tuple[torch.Tensor, list[list[float]]]:
    """Random logits, and minus their entropies in nats."""
    generator = torch.Generator().manual_seed(seed)
    scale = 6 * torch.rand(rows, width, 1, generator=generator)
    logits = scale * torch.randn(rows, width, INFO.vocab_size, generator=generator)
    logp = logits.double().log_softmax(dim=-1)
    return logits, (logp.exp() * logp).sum(dim=-1).tolist()


def bounded(entropies: list[float], gamma: float) -> list[int]:
    """Take positions by rising entropy while the sum without the largest is within gamma."""
    order = sorted(range(len(entropies)), key=lambda i: entropies[i])
    taken: list[int] = []
    for place in order:
        together = [entropies[i] for i in [*taken, place]]
        if taken and sum(together) - max(together) > gamma:
            break
        taken.append(place)
    return sorted(taken)


@given(SEEDS, st.floats(0, 8))
def test_the_bound_takes_the_longest_prefix_that_fits(seed: int, gamma: float) -> None:
    """Row by row, as the definition of EB-Sampler says."""
    logits, confidence = entropic(seed)
    expected = [bounded([-c for c in row], gamma) for row in confidence]
    assert expected == chosen(EntropyBound(gamma=gamma), fresh(confidence, logits))


@given(SEEDS)
def test_a_bound_of_zero_is_the_best_position(seed: int) -> None:
    """With every entropy above zero no second position fits."""
    logits, confidence = entropic(seed)
    view = fresh(confidence, logits)
    assert chosen(TopK(k=1), view) == chosen(EntropyBound(gamma=0.0), view)


@given(SEEDS)
def test_a_huge_bound_decides_everything(seed: int) -> None:
    """There is nothing left to bound."""
    logits, confidence = entropic(seed)
    view = fresh(confidence, logits)
    assert [list(range(6))] * 2 == chosen(EntropyBound(gamma=1e9), view)


@given(SEEDS, st.floats(0, 3))
def test_the_threshold_takes_all_certain_positions_and_the_best(seed: int, limit: float) -> None:
    """Also where nothing is certain."""
    logits, confidence = entropic(seed)
    expected = [
        [i for i, c in enumerate(row) if -c <= limit or i == row.index(max(row))]
        for row in confidence
    ]
    assert expected == chosen(EntropyThreshold(limit=limit), fresh(confidence, logits))
