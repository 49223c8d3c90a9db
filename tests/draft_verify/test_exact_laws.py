"""The laws of judges that draw, computed rather than sampled.

A judge is a function of its coins and of its noise.  Where a coin turns an acceptance into a
rejection, and where noise turns one replacement into another, is found by bisection; with every
order in which brothers may be drawn, that gives the law of what is emitted to nine digits.

Legend: B cases, E entries, V vocabulary, K brothers.
"""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace

import pytest
import torch

from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit_strategies.draft_verify import PointMass, Ratio, Recursive

HALVINGS = 60


class Stub:
    """Coins by turn, `[B, K]`, and one noise for all residual draws, `[B, V]`."""

    def __init__(self, coins_BK, noise_BV):
        self.coins_BK, self.noise_BV = coins_BK, noise_BV

    def uniform_BP(self, stream, positions_BP):
        turn = int(stream.rpartition("-")[2]) if stream.startswith("recursive") else 0
        return self.coins_BK[:, turn : turn + 1].expand(positions_BP.shape)

    def gumbel_BPV(self, stream, positions_BP, vocabulary):
        return self.noise_BV[:, None].expand(*positions_BP.shape, vocabulary)


def law(seed, size, zeros=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(size, generator=generator, dtype=torch.float64) + 0.05
    weights[torch.randperm(size, generator=generator)[:zeros]] = 0.0
    return weights / weights.sum()


def brothers(q_V, count):
    """Every order of so many distinct draws, and how likely it is."""
    orders = [
        order
        for order in permutations(range(len(q_V)), count)
        if all(float(q_V[token]) > 0 for token in order)
    ]
    chances = []
    for order in orders:
        chance, left = 1.0, 1.0
        for token in order:
            chance, left = chance * float(q_V[token]) / left, left - float(q_V[token])
        chances.append(chance)
    return torch.tensor(orders), torch.tensor(chances, dtype=torch.float64)


def verdict(judge, p_V, q_V, token_BK, coins_BK, noise_BV):
    rows, count = token_BK.shape
    node_BK = torch.arange(count).expand(rows, -1)
    draft = Draft(
        position_BE=torch.full_like(token_BK, 3),
        token_BE=token_BK,
        node_BE=node_BK,
        valid_BE=torch.ones_like(token_BK, dtype=torch.bool),
        parent_BD=torch.full_like(node_BK, ROOT),
        law_BEV=q_V.log().expand(rows, count, -1),
    )
    evidence = SimpleNamespace(law_BEV=p_V.log().expand(rows, count, -1))
    return judge.judge(draft, evidence, SimpleNamespace(noise=Stub(coins_BK, noise_BV)))


def threshold(holds, rows):
    """The largest number in [0, 1] at which a monotone test still holds, for each row."""
    low, high = torch.zeros(rows, dtype=torch.float64), torch.ones(rows, dtype=torch.float64)
    high = torch.where(holds(torch.ones_like(high)), 2.0, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        passes = holds(middle)
        low, high = torch.where(passes, middle, low), torch.where(passes, high, middle)
    return low.clamp_max(1.0)


def emitted(judge, p_V, q_V, token_BK, chance_B):
    """The law of the token that comes of a family, over all orders of its members."""
    rows, count = token_BK.shape
    silent_BV = torch.zeros(rows, len(p_V), dtype=torch.float64)
    law_V, alive_B = torch.zeros_like(p_V), chance_B.clone()
    fails = torch.full((rows, count), 2.0, dtype=torch.float64)  # no ratio is that large
    for turn in range(count):

        def holds(coin_B, turn=turn):
            coins_BK = fails.clone()
            coins_BK[:, turn] = coin_B
            return verdict(judge, p_V, q_V, token_BK, coins_BK, silent_BV).ok_BE[:, turn]

        share_B = threshold(holds, rows)
        law_V.scatter_add_(0, token_BK[:, turn], alive_B * share_B)
        alive_B = alive_B * (1 - share_B)
    return law_V + (alive_B[:, None] * residual(judge, p_V, q_V, token_BK, fails)).sum(dim=0)


def residual(judge, p_V, q_V, token_BK, coins_BK):
    """The law that the last replacement is drawn from: e^-x where noise x makes a token win."""
    rows, size = len(token_BK), len(p_V)
    silent_BV = torch.zeros(rows, size, dtype=torch.float64)
    first_B = verdict(judge, p_V, q_V, token_BK, coins_BK, silent_BV).token_BE[:, -1]
    weight_BV = torch.zeros(rows, size, dtype=torch.float64)
    for token in range(size):

        def loses(share_B, token=token):
            noise_BV = silent_BV.clone()
            noise_BV[:, token] = -share_B.log()
            drawn_B = verdict(judge, p_V, q_V, token_BK, coins_BK, noise_BV).token_BE[:, -1]
            return drawn_B == token

        share_B = threshold(loses, rows)
        weight_BV[:, token] = torch.where(first_B == token, 1.0, share_B)
    return weight_BV / weight_BV.sum(dim=1, keepdim=True)


@pytest.mark.parametrize(("size", "count"), [(2, 1), (3, 2), (4, 3), (5, 2), (5, 4)])
@pytest.mark.parametrize("zeros", [0, 1])
def test_recursive_rejection_emits_the_verifiers_law(size, count, zeros):
    """Up to as many brothers as there are other tokens; also where q cannot draw a token."""
    count = min(count, size - zeros)
    p_V, q_V = law(size, size), law(10 + size, size, zeros)
    found_V = emitted(Recursive(brothers=count), p_V, q_V, *brothers(q_V, count))
    assert torch.allclose(p_V, found_V, atol=1e-9)


def test_an_equal_drafters_first_brother_always_stands():
    """Its ratio is 1 whatever it is, so the others are never asked."""
    p_V = law(3, 5)
    tokens, _ = brothers(p_V, 3)
    coins = torch.full((len(tokens), 3), 1 - 1e-9, dtype=torch.float64)
    ok_BE = verdict(Recursive(brothers=3), p_V, p_V, tokens, coins, torch.zeros(len(tokens), 5))
    assert bool(ok_BE.ok_BE[:, 0].all())
    assert not bool(ok_BE.ok_BE[:, 1:].any())


@pytest.mark.parametrize("seed", range(4))
def test_one_draw_by_the_ratio_emits_the_verifiers_law(seed):
    """The classic rule, and one brother alone, which is the same."""
    p_V, q_V = law(seed, 5), law(seed + 20, 5, zeros=seed % 2)
    for judge in (Ratio(), Recursive(brothers=1)):
        assert torch.allclose(p_V, emitted(judge, p_V, q_V, *brothers(q_V, 1)), atol=1e-9)


def test_a_sure_guess_by_the_point_mass_emits_the_verifiers_law():
    """Whichever token it is."""
    p_V = law(1, 5)
    for token in range(5):
        guess = torch.tensor([[token]])
        found_V = emitted(PointMass(), p_V, p_V, guess, torch.ones(1, dtype=torch.float64))
        assert torch.allclose(p_V, found_V, atol=1e-9)


def test_brothers_drawn_with_replacement_break_the_law():
    """The computation would see it: the judge takes them for distinct draws."""
    p_V, q_V = law(5, 4), law(15, 4)
    tokens = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    chances = q_V[tokens].prod(dim=1)
    found_V = emitted(Recursive(brothers=2), p_V, q_V, tokens, chances)
    assert not torch.allclose(p_V, found_V, atol=1e-3)
