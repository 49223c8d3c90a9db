"""Entropy averaged over steps, and proposals that have to stand: CCD as its paper states it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dlmkit.view import View
from dlmkit_strategies.averaging import AveragedEntropy, Unchanged
from dlmkit_strategies.confidence import NegativeEntropy
from tests.strategies.steps import INFO, canvas_of, next_view, proposing, view_of

WIDTH = 4
NOTHING = torch.zeros(1, WIDTH, dtype=torch.bool)
SEEDS = st.integers(0, 2**16)


def drawn(seed: int) -> Tensor:
    """Random logits."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(1, WIDTH, INFO.vocab_size, generator=generator)


def begin(strategy: object) -> View:
    """The first step over masks."""
    return view_of(canvas_of([[None] * WIDTH]), strategy=strategy)


def scored(scorer: AveragedEntropy, view: View) -> Tensor:
    """The scores of a view that has proposals."""
    return scorer.score(view.proposal.tokens_BP, view.proposal.prediction, view)


@given(SEEDS)
def test_a_depth_of_one_is_the_entropy(seed: int) -> None:
    """Identity of the method."""
    scorer = AveragedEntropy(depth=1)
    view = proposing(begin(scorer), [[0.5] * WIDTH], drawn(seed))
    expected = NegativeEntropy().score(view.proposal.tokens_BP, view.proposal.prediction, view)
    torch.testing.assert_close(expected, scored(scorer, view))
    assert scorer.state == ()


@given(st.lists(SEEDS, min_size=4, max_size=4), st.integers(2, 3))
def test_the_average_is_over_the_last_steps(seeds: list[int], depth: int) -> None:
    """Against a plain mean of the distributions; all positions are remembered."""
    scorer, view = AveragedEntropy(depth=depth, width=WIDTH), None
    view = begin(scorer)
    for seed in seeds:
        view = proposing(view, [[0.5] * WIDTH], drawn(seed))
        found = scored(scorer, view)
        view = next_view(scorer, view, NOTHING)
    shares = torch.stack([drawn(seed).softmax(dim=-1) for seed in seeds[-depth:]]).mean(dim=0)
    torch.testing.assert_close((shares * shares.log()).sum(dim=-1), found)


def test_only_the_surest_undecided_positions_are_remembered() -> None:
    """Position 1 is sure but decided in the step; of the rest 3 and 0 are the best two."""
    scorer = AveragedEntropy(depth=2, width=2)
    commit_BP = torch.tensor([[False, True, False, False]])
    view = proposing(begin(scorer), [[0.6, 0.9, 0.1, 0.8]], drawn(1))
    view = next_view(scorer, view, commit_BP)
    kept = view.recall(scorer)["past1_BNV"].sum(dim=-1)[0, -WIDTH:]
    torch.testing.assert_close(torch.tensor([1.0, 0.0, 0.0, 1.0]), kept)


def test_a_step_forgets_what_it_does_not_remember_anew() -> None:
    """The memory of depth 2 holds one step."""
    scorer = AveragedEntropy(depth=2, width=1)
    view = next_view(scorer, proposing(begin(scorer), [[0.9, 0.1, 0.1, 0.1]], drawn(1)), NOTHING)
    view = next_view(scorer, proposing(view, [[0.1, 0.9, 0.1, 0.1]], drawn(2)), NOTHING)
    kept = view.recall(scorer)["past1_BNV"].sum(dim=-1)[0, -WIDTH:]
    torch.testing.assert_close(torch.tensor([0.0, 1.0, 0.0, 0.0]), kept)


@pytest.mark.parametrize(("past", "expected"), [(1, [0, 2]), (2, [2])])
def test_changed_proposals_are_dropped(past: int, expected: list[int]) -> None:
    """Position 0 changed two steps ago, position 1 now."""
    guard, tokens = Unchanged(past=past), ([4, 5, 6, 7], [3, 5, 6, 7], [3, 4, 6, 7])
    view = begin(guard)
    for each in tokens:
        logits = torch.nn.functional.one_hot(torch.tensor([each]), INFO.vocab_size).float()
        view = proposing(view, [[0.9, 0.8, 0.7, 0.6]], logits)
        commit_BP = torch.tensor([[True, True, True, False]])
        kept_BP = guard.guard(commit_BP, view.proposal.confidence_BP, view)
        view = next_view(guard, view, NOTHING)
    assert expected == kept_BP[0].nonzero()[:, 0].tolist()


def test_the_best_selected_position_is_kept_in_any_case() -> None:
    """In the first step everything counts as changed."""
    guard = Unchanged()
    view = proposing(begin(guard), [[0.2, 0.9, 0.7, 0.6]], drawn(3))
    commit_BP = torch.tensor([[True, False, True, False]])
    kept_BP = guard.guard(commit_BP, view.proposal.confidence_BP, view)
    assert [2] == kept_BP[0].nonzero()[:, 0].tolist()
