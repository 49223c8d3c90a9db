"""Which trees parallel prompt decoding checks, against every choice and against dice."""

from __future__ import annotations

import random
from itertools import product

import pytest

from dlmkit_strategies.prompt_tokens.tree_states import gain_per_pass, tree_states

SHARES = ((0.5, 0.2, 0.1), (0.4, 0.15))


def long_run(moves, worths):
    """The mean worth of a pass, by following the chain from every state for long."""
    shares = [1 / len(worths)] * len(worths)
    total = 0.0
    for turn in range(4000):
        total += sum(s * w for s, w in zip(shares, worths, strict=True)) * (turn >= 2000)
        shares = [
            sum(s * m[k] for s, m in zip(shares, moves, strict=True)) for k in range(len(worths))
        ]
    return total / 2000


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_other_choice_brings_more(size, share):
    """For one distance and two candidates: every tree with every place for prompt tokens."""
    first, second = share, 0.6 * min(share, 1 - share)
    best = 0.0
    for guesses in range(min(size, 2) + 1):
        worths = [first, first + second][:guesses]
        worth = worths[-1] if worths else 0.0
        ends = [1 - worth, first, second][: guesses + 1]
        for prompts in product((0, 1), repeat=guesses + 1):
            if sum(prompts) + guesses > size:
                continue
            known = sum(e * p for e, p in zip(ends, prompts, strict=True))
            best = max(best, long_run([[0.0, 1.0], [1 - known, known]], [0.0, worth]))
    found = gain_per_pass(tree_states(size, ((first, second),)))
    assert best == pytest.approx(found, abs=2e-3)


def test_what_is_promised_is_what_dice_give():
    """Passes played with random hits, for the trees of a middling size."""
    states = tree_states(12, SHARES)
    rng = random.Random(0)  # noqa: S311 - dice, not secrets
    hits, known, passes = 0, 0, 20_000
    for _ in range(passes):
        shape, prompts = states[known].shape, states[known].prompts
        node, depth = -1, 0
        while depth < known:
            dice, chosen = rng.random(), None
            for child, (parent, rank) in enumerate(zip(shape.parents, shape.ranks, strict=True)):
                if parent == node:
                    share = SHARES[depth][rank]
                    if 0 <= dice < share and chosen is None:
                        chosen = child
                    dice -= share
            if chosen is None:
                break
            node, depth, hits = chosen, depth + 1, hits + 1
        known = prompts[node + 1]
    assert gain_per_pass(states) == pytest.approx(hits / passes, rel=0.03)


@pytest.mark.parametrize("size", [1, 4, 12, 30])
def test_a_tree_fits_its_size_and_what_is_known(size):
    """Guesses and prompt tokens together; no deeper than what was guessed."""
    for known, state in enumerate(tree_states(size, SHARES)):
        assert len(state.shape.parents) + sum(state.prompts) <= size
        assert max(state.shape.depths, default=0) <= known
        assert max(state.prompts) <= len(SHARES)
        assert len(state.prompts) == len(state.shape.parents) + 1


def test_more_room_brings_no_fewer_tokens():
    """Within what the greedy placing of prompt tokens may miss."""
    gains = [gain_per_pass(tree_states(size, SHARES)) for size in (2, 4, 8, 16, 32)]
    assert gains == sorted(gains)
