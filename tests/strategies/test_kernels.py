"""The shared tensor functions agree with slow loops."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit_strategies.kernels import first_allowed, rank, top_n

SCORES = st.sampled_from([-torch.inf, -1.0, 0.0, 0.25, 0.5, 1.0])
ROW = st.lists(st.tuples(SCORES, st.booleans()), min_size=5, max_size=5)


def tensors(rows):
    confidence = torch.tensor([[score for score, _ in row] for row in rows])
    return confidence, torch.tensor([[eligible for _, eligible in row] for row in rows])


def slow_order(row):
    """Eligible positions by falling score, ties to the lowest."""
    eligible = [(-score, place) for place, (score, kept) in enumerate(row) if kept]
    return [place for _, place in sorted(eligible)]


@given(st.lists(ROW, min_size=1, max_size=3))
def test_ranks_agree_with_sorting(rows):
    """Eligible positions come first, even those that are rated minus infinity."""
    confidence_BP, eligible_BP = tensors(rows)
    rank_BP = rank(confidence_BP, eligible_BP)
    for number, row in enumerate(rows):
        order = slow_order(row)
        assert list(range(len(order))) == [int(rank_BP[number, place]) for place in order]
        assert list(range(5)) == sorted(rank_BP[number].tolist())


@given(st.lists(ROW, min_size=2, max_size=2), st.integers(0, 7), st.integers(0, 7))
def test_the_top_n_are_the_first_of_the_ranking(rows, one, other):
    """Each row may want another number; too many are all."""
    confidence_BP, eligible_BP = tensors(rows)
    chosen_BP = top_n(confidence_BP, eligible_BP, torch.tensor([[one], [other]]))
    for number, (row, count) in enumerate(zip(rows, (one, other), strict=True)):
        expected = sorted(slow_order(row)[:count])
        assert expected == chosen_BP[number].nonzero().flatten().tolist()


def test_a_banned_token_gives_way_to_the_next():
    """Only where it is the best; without a ban nothing changes."""
    ids_BPK = torch.tensor([[[7, 3], [4, 7]]])
    assert [[3, 4]] == first_allowed(ids_BPK, 7).tolist()
    assert [[7, 4]] == first_allowed(ids_BPK, None).tolist()
