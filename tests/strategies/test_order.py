"""Orders of decoding that are fixed in advance: the same in every step, whatever is predicted.

Legend: P window positions.
"""

from __future__ import annotations

import pytest

from dlmkit.testing.toy import toy_network
from dlmkit_strategies.order import DrawnOrder, GivenOrder
from tests.core.runs import llada, run

PROMPTS = [[3, 1, 4], [1, 5]]


def order_of(records, row, prompt):
    """Offsets in the order in which a row was decided."""
    return [
        change.position - len(prompt)
        for record in records
        for change in record.changes()
        if change.row == row
    ]


def test_a_given_order_is_followed():
    """Named offsets first; the rest from left to right."""
    pipeline = llada(length=8, steps=8, confidence=GivenOrder(offsets=(5, 0, 7)))
    _, records, _ = run(pipeline, toy_network(), PROMPTS, 8)
    for row, prompt in enumerate(PROMPTS):
        assert [5, 0, 7, 1, 2, 3, 4, 6] == order_of(records, row, prompt)


def test_an_order_stays_inside_the_block():
    """Blocks come first, the order second."""
    pipeline = llada(length=4, steps=4, confidence=GivenOrder(offsets=(6, 2, 0)))
    _, records, _ = run(pipeline, toy_network(), PROMPTS[:1], 8)
    assert [2, 0, 1, 3, 6, 4, 5, 7] == order_of(records, 0, PROMPTS[0])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_drawn_order_is_the_same_in_every_step(seed):
    """A decode of one token a step follows the ranking that its first step shows."""
    pipeline = llada(length=8, steps=8, confidence=DrawnOrder())
    _, records, _ = run(pipeline, toy_network(), PROMPTS, 8, seed=seed)
    for row, prompt in enumerate(PROMPTS):
        ranking = records[0].confidence_BP[row].argsort(descending=True).tolist()
        assert ranking == order_of(records, row, prompt)


def test_a_drawn_order_belongs_to_the_sample_and_the_seed():
    """Rows of a batch, and seeds, have orders of their own."""
    pipeline = llada(length=8, steps=8, confidence=DrawnOrder())
    orders = {
        tuple(order_of(run(pipeline, toy_network(), PROMPTS, 8, seed=seed)[1], row, PROMPTS[row]))
        for seed in (0, 1)
        for row in (0, 1)
    }
    assert 4 == len(orders)


def test_an_empty_order_is_refused():
    """There is nothing to follow."""
    with pytest.raises(ValueError, match="must not be empty"):
        GivenOrder(offsets=())
