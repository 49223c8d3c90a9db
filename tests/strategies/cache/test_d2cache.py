"""d2Cache computes promising masks, fresh tokens and what the others attend to most."""

from __future__ import annotations

import math

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import D2Cache
from dlmkit_strategies.transfer import Threshold
from tests.strategies.cache.decodes import NEW, PROMPTS, Noted, decode, pipeline
from tests.strategies.steps import canvas_of, view_of


def test_choosing_everything_is_no_cache():
    """Identity of the method at k = all masks, p = 1."""
    everything = D2Cache(masks=99, rollout=1.0)
    assert decode(None)[0] == decode(everything)[0]
    rule = Threshold(0.4)
    assert decode(None, transfer=rule)[0] == decode(everything, transfer=rule)[0]


def known_around(known, sigma, reach):
    """Weighted shares, one by one; known before, and behind as at the end."""
    count, total = len(known), 0.0
    shares = []
    for here in range(count):
        found = total = 0.0
        for there in range(here - reach, here + reach + 1):
            weight = math.exp(-((here - there) ** 2) / (2 * sigma**2))
            value = 1 if there < 0 else known[min(there, count - 1)]
            found, total = found + weight * value, total + weight
        shares.append(found / total)
    return shares


def chosen_by_hand(cache, tokens, mask, start, block, memory, fresh):
    """The rule written out for one row."""
    known = [token != mask for token in tokens]
    density = known_around(known, cache.sigma, math.ceil(4 * cache.sigma))
    score = [c * d for c, d in zip(memory["confidence"], density, strict=True)]
    first, stop = block
    best = max(score)
    score = [s + best if first <= i < stop and not known[i] else s for i, s in enumerate(score)]
    masks = [i for i in range(len(tokens)) if not known[i]]
    width = stop - first
    end = len(tokens)
    if len(masks) >= cache.masks:
        end = start + ((masks[cache.masks - 1] - start) // width + 1) * width
    sight = [i for i in masks if first <= i < max(end, stop)]
    chosen = set(sorted(sight, key=lambda i: (-score[i], i))[: cache.masks]) | set(fresh)
    rest = [i for i in range(len(tokens)) if i not in chosen]
    total, share = sum(memory["rollout"][i] for i in rest), 0.0
    for number, i in enumerate(sorted(rest, key=lambda i: (-memory["rollout"][i], i))):
        share += memory["rollout"][i] / total
        if number and share > cache.rollout:
            break
        chosen.add(i)
    return chosen


@pytest.mark.parametrize("masks", [2, 5])
def test_a_pass_computes_what_the_rule_says(masks):
    """Every pass of a decode of one row, with the rule written out."""
    prompt = PROMPTS[1]
    network = toy_network()
    mask, start = network.info.mask_id, len(prompt)
    canvas = Canvas.create([prompt], NEW, mask)
    session = Noted(network)
    before, views = canvas.tokens_BN, []

    @attrs.frozen
    class Spying(D2Cache):
        def plan(self, view):
            """Note what is known before the pass."""
            views.append({k: v[0].tolist() for k, v in view.recall(self).items()})
            return super().plan(view)

    cache = Spying(masks=masks, sigma=2.0, rollout=0.3)
    fresh: list[int] = []
    for step, _ in enumerate(pipeline(cache).steps(Context({"main": session}, 5), canvas)):
        tokens = before[0].tolist()
        fed = set(session.passes[step]["fed_BN"][0].nonzero()[:, 0].tolist())
        open_block = (next(i for i, t in enumerate(tokens) if t == mask) - start) // 4
        block = (start + 4 * open_block, start + 4 * open_block + 4)
        if step:
            expected = chosen_by_hand(cache, tokens, mask, start, block, views[step], fresh)
            assert expected == fed
        fresh = (before[0] != canvas.tokens_BN[0]).nonzero()[:, 0].tolist()
        before = canvas.tokens_BN


def test_gaps_between_chosen_positions_are_filled():
    """Positions at most `inflate` apart take what lies between them along."""
    view = view_of(canvas_of([[1] * 8]))
    chosen_BN = torch.tensor([[1, 0, 0, 1, 0, 0, 0, 1, 0, 0]]).bool()
    filled_BN = D2Cache(inflate=3)._inflated(chosen_BN, view)
    assert [0, 1, 2, 3, 7] == filled_BN[0].nonzero()[:, 0].tolist()
    assert torch.equal(chosen_BN, D2Cache(inflate=0)._inflated(chosen_BN, view))


def test_the_first_confidence_is_that_of_the_whole_pass():
    """With `first` the memory of a mask never changes."""
    seen = []

    @attrs.frozen
    class Spying(D2Cache):
        def advance(self, outcome):
            """Note the memory after each pass."""
            state = super().advance(outcome)
            seen.append(state["confidence"])
            return state

    decode(Spying(masks=3, sigma=2.0, confidence="first"))
    assert all(torch.equal(seen[0], each) for each in seen)
    seen.clear()
    decode(Spying(masks=3, sigma=2.0))
    assert not torch.equal(seen[0], seen[-1])
