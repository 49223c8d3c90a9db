"""Masks say which query sees which key, position by position."""

from __future__ import annotations

import itertools

import pytest
import torch

from dlmkit.models.arch import AttentionPattern
from dlmkit.passes.attention import masks
from dlmkit.passes.plan import Plan

PATTERNS = {
    "full": AttentionPattern(),
    "causal": AttentionPattern(kind="causal"),
    "block-causal": AttentionPattern(kind="block-causal", block=3),
}
COLUMNS, LENGTHS = 8, (8, 6)
FEED = torch.tensor([[5, 2, 7], [4, 0, 5]])
VALID = torch.tensor([[True, True, True], [True, False, True]])
CACHED = torch.tensor([[1, 1, 1, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1]]).bool()


def sees(kind, query, key):
    if kind == "causal":
        return key <= query
    return kind == "full" or key // 3 <= query // 3


@pytest.mark.parametrize("kind", PATTERNS)
def test_masks_agree_with_a_loop_over_pairs(kind):
    """Pattern, padding, filler, and stored rows of fed positions."""
    inside_BN = torch.arange(COLUMNS) < torch.tensor(LENGTHS)[:, None]
    plan = Plan(feed_BQ=FEED, feed_valid_BQ=VALID, cached_BN=CACHED)
    past, new = masks(PATTERNS[kind], plan, inside_BN, ragged=True)
    for row, q in itertools.product(range(2), range(3)):
        query, real = int(FEED[row, q]), bool(VALID[row, q])
        for k in range(3):
            key = int(FEED[row, k])
            both = real and bool(VALID[row, k]) and sees(kind, query, key)
            assert (both or q == k) == bool(new[row, 0, q, k])
        fed = {int(FEED[row, k]) for k in range(3) if VALID[row, k]}
        for slot in range(COLUMNS):
            readable = bool(CACHED[row, slot]) and slot < LENGTHS[row] and slot not in fed
            expected = real and readable and sees(kind, query, slot)
            assert expected == bool(past[row, 0, q, slot])


def test_a_plain_pass_needs_no_mask():
    """Full attention over rows of one length is what kernels do fastest."""
    tokens_BN = torch.zeros(2, 4, dtype=torch.int64)
    inside_BN = torch.ones(2, 4, dtype=torch.bool)
    found = masks(PATTERNS["full"], Plan.full(tokens_BN), inside_BN, ragged=False)
    assert (None, None) == found


def test_every_query_sees_something():
    """A row of the mask without a true entry would make the softmax undefined."""
    inside_BN = torch.arange(COLUMNS) < torch.tensor([2, 1])[:, None]
    plan = Plan(feed_BQ=FEED, feed_valid_BQ=torch.zeros_like(VALID))
    _, new = masks(PATTERNS["causal"], plan, inside_BN, ragged=True)
    assert new.any(dim=-1).all()
