"""Which tree to check, and where in it to put prompt tokens, by how much is known.

The node that a pass comes to has carried some prompt tokens, and as many distances are guessed in
the next one: that is the *state*.  A pass has room for so many guesses and prompt tokens together;
guesses bring tokens now, prompt tokens bring a better state next time.

The trees are those with which decoding brings the most tokens a pass in the long run, by policy
iteration on the Markov chain of states; in each step every number of guesses is tried, and prompt
tokens go one by one to where they bring most.
Source: parallel prompt decoding (arXiv:2405.18628), dynamic sparse trees, which are found there by
taking prompt tokens out of full trees one by one.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Sequence
from itertools import pairwise

import attrs

from dlmkit_strategies.trees.shapes import Shape, likeliest

__all__ = ["Shares", "TreeState", "gain_per_pass", "tree_states"]

Shares = tuple[tuple[float, ...], ...]
"""How often the r-th candidate at distance d is right, `[d][r]`."""

IMPROVEMENTS, TURNS = 12, 60


@attrs.frozen
class TreeState:
    """A tree, and the prompt tokens behind the last known token and then behind each node.

    `worth` is the number of guesses of a pass that are right, in the mean; `ends` is the
    probability that a pass ends with each number of prompt tokens.
    """

    shape: Shape
    prompts: tuple[int, ...]
    worth: float
    ends: tuple[float, ...]


@functools.cache
def tree_states(size: int, shares: Shares) -> tuple[TreeState, ...]:
    """The trees of `size` guesses and prompt tokens for every number of guessed distances."""
    values = [float(known) for known in range(len(shares) + 1)]
    states: tuple[TreeState, ...] = ()
    for _ in range(IMPROVEMENTS):
        before, states = (
            states,
            tuple(_best(known, size, shares, values) for known in range(len(values))),
        )
        if states == before:
            break
        values = _values(states)
    return states


def gain_per_pass(states: Sequence[TreeState]) -> float:
    """Right guesses of a pass in the long run, beside the token that every pass brings."""
    shares = [1.0 / len(states)] * len(states)
    for _ in range(TURNS):
        moved = [
            sum(share * state.ends[known] for share, state in zip(shares, states, strict=True))
            for known in range(len(states))
        ]
        # Half of each: the chain may go in a circle.
        shares = [(one + other) / 2 for one, other in zip(shares, moved, strict=True)]
    return sum(share * state.worth for share, state in zip(shares, states, strict=True))


def _values(states: Sequence[TreeState]) -> list[float]:
    """How many more tokens come in the long run from each state than from the first."""
    values = [0.0] * len(states)
    for _ in range(TURNS):
        later = [
            state.worth + sum(end * value for end, value in zip(state.ends, values, strict=True))
            for state in states
        ]
        values = [(one + other) / 2 for one, other in zip(values, later, strict=True)]
        values = [value - values[0] for value in values]
    return values


def _best(known: int, size: int, shares: Shares, values: Sequence[float]) -> TreeState:
    """The best split of the room between guesses and prompt tokens."""
    splits = [
        _split(guesses, size - guesses, shares[:known], values)
        for guesses in range(size + 1 if known else 1)
    ]
    return max(splits, key=lambda each: _score(each, values))


def _score(state: TreeState, values: Sequence[float]) -> float:
    return state.worth + sum(end * value for end, value in zip(state.ends, values, strict=True))


def _split(guesses: int, prompts: int, shares: Shares, values: Sequence[float]) -> TreeState:
    """The likeliest tree of so many guesses, with prompt tokens where they bring most."""
    shape = likeliest(guesses, shares)
    right = [1.0]  # the last known token, and then each node
    for parent, rank, depth in zip(shape.parents, shape.ranks, shape.depths, strict=True):
        right.append(right[parent + 1] * shares[depth - 1][rank])
    last = list(right)
    for parent, probability in zip(shape.parents, right[1:], strict=True):
        last[parent + 1] -= probability
    counts = _placed(prompts, last, values)
    ends = [0.0] * len(values)
    for probability, count in zip(last, counts, strict=True):
        ends[count] += probability
    return TreeState(shape, tuple(counts), sum(right[1:]), tuple(ends))


def _placed(prompts: int, last: Sequence[float], values: Sequence[float]) -> list[int]:
    """So many prompt tokens, each where it brings most; ties go to the node drafted first."""
    counts = [0] * len(last)
    steps = [after - before for before, after in pairwise(values)]
    heap = [(-probability * steps[0], node) for node, probability in enumerate(last)]
    heapq.heapify(heap)
    while prompts and heap:
        _, node = heapq.heappop(heap)
        counts[node] += 1
        prompts -= 1
        if counts[node] < len(steps):
            heapq.heappush(heap, (-last[node] * steps[counts[node]], node))
    return counts
