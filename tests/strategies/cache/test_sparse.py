"""Sparse-dLLM reads in each layer what that layer rates highest."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.errors import EngineError
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit_strategies.cache import Sparse
from dlmkit_strategies.cache.marks import between, working
from tests.strategies.cache.decodes import BLOCK, NEW, PROMPTS, decode


@attrs.frozen
class LateDual(CachePolicy):
    """The dual cache, filled in the second step of a block."""

    def plan(self, view):
        """Everything twice, then the block."""
        full_B1 = (view.block_step_B < 2)[:, None]
        block_BN = between(view, view.block.start_B, view.block.stop_B)
        rating_B1 = (view.block_step_B == 1)[:, None]
        return Plan.of(
            (block_BN | full_B1) & working(view),
            cached_BN=~block_BN & ~full_B1,
            commit_BN=~block_BN & rating_B1,
        )


def test_keeping_everything_is_a_late_dual_cache():
    """Identity of the method at r = 1."""
    assert decode(LateDual())[0] == decode(Sparse(keep=1.0))[0]


def kept_one_by_one(rating, other, keep, kernel):
    """The rule written out for one row and layer."""
    places = [place for place, outside in enumerate(other) if outside]
    values = [rating[place] for place in places]
    half = kernel // 2
    pooled = [max(values[max(i - half, 0) : i + half + 1]) for i in range(len(values))]
    best = sorted(range(len(values)), key=lambda i: (-pooled[i], i))
    return sorted(places[i] for i in best[: int(len(places) * keep)])


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_each_layer_keeps_its_best_rated(keep, kernel):
    """Rating, neighbours and share as in the rule written out; ties to the first."""
    torch.manual_seed(0)
    rating_BNY = torch.randint(0, 6, (2, 14, 3)).double()
    other_BN = torch.ones(2, 14, dtype=torch.bool)
    other_BN[0, 4:8] = False
    other_BN[1, 6:10] = other_BN[1, 12:] = False
    found_BNY = Sparse(keep=keep, kernel=kernel)._highest(rating_BNY, other_BN)
    for row in range(2):
        for layer in range(3):
            expected = kept_one_by_one(
                rating_BNY[row, :, layer].tolist(), other_BN[row].tolist(), keep, kernel
            )
            assert expected == found_BNY[row, :, layer].nonzero()[:, 0].tolist()


def test_a_block_costs_two_whole_passes_and_then_its_width():
    """One row, a token a step."""
    (prompt,) = PROMPTS[:1]
    end = len(prompt) + NEW
    fed = [each["fed"] for each in decode(Sparse(), [prompt])[1].passes]
    assert [end, end, *[BLOCK] * (BLOCK - 2)] * (NEW // BLOCK) == fed


def test_what_is_not_kept_is_not_read():
    """A cache that keeps little decodes otherwise than one that keeps everything."""
    assert decode(Sparse(keep=0.1))[0] != decode(Sparse(keep=1.0))[0]


def test_what_is_read_is_gathered_once_in_a_block():
    """One row: every later step in the block reads the very same tensors."""
    _, session = decode(Sparse(), PROMPTS[:1])
    gathered = [each["reads"] for each in session.passes if each["width"] is not None]
    assert len({id(reads) for reads in gathered}) == NEW // BLOCK
    assert len(gathered) == NEW - 2 * (NEW // BLOCK)


def test_a_layer_that_reads_what_the_plan_leaves_out_is_refused():
    """A policy that narrows carelessly is named."""

    @attrs.frozen
    class Careless(Sparse):
        def plan(self, view):
            """Let layers read the block, too."""
            plan = super().plan(view)
            return attrs.evolve(plan, layers_BNY=torch.ones_like(plan.layers_BNY))

    with pytest.raises(EngineError, match="reads a position that the plan does not read"):
        decode(Careless())
