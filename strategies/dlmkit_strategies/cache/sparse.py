"""A cache that reads the most relevant half of what lies outside the block.

Legend: B rows, N canvas positions, Y layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, source_B, working

__all__ = ["Sparse"]


def _odd(value: int) -> str | None:
    return None if value % 2 else "must be odd"


@attrs.frozen
class Sparse(CachePolicy):
    """Compute the block; read the most relevant part of the rest, another one in each layer.

    A row computes everything in its first `delay` + 1 steps in a block.  In the last of them each
    layer rates the positions outside the block by the product of their keys with the block's mean
    query, the largest among `kernel` neighbours counting, and those rated highest are read from
    then on.
    Source: Sparse-dLLM (arXiv:2508.02558), retention ratio r and kernel size w.
    """

    name = "sparse"
    need = Need(taps=frozenset({"relevance"}))
    by_layer = True
    requires = frozenset({"attention-taps"})
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("kept", "bool", 0, dims="BNY", keep=True),
    )

    keep: float = option(
        0.5, doc="share of the other positions that is read (r)", check=(above(0), at_most(1))
    )
    kernel: int = option(
        3, doc="neighbours that share a rating, odd (w)", check=(at_least(1), _odd)
    )
    delay: int = option(1, doc="whole passes before the one that rates", check=at_least(0))

    def plan(self, view: View) -> Plan:
        """The block; everything as long as nothing is rated."""
        block_BN, kept_BNY = self._block(view), view.recall(self)["kept"]
        if view.settled > self.delay:
            width = view.block.width + view.info.logit_shift
            plan = Plan.of(block_BN & working(view), cached_BN=~block_BN, width=width)
            return self._narrowed(plan, kept_BNY)
        full_B1 = (view.block_step_B <= self.delay)[:, None]
        cached_BN = ~block_BN & ~full_B1
        plan = Plan.of(
            (block_BN | full_B1) & working(view),
            cached_BN=cached_BN,
            commit_BN=~block_BN & (view.block_step_B == self.delay)[:, None],
        )
        return attrs.evolve(
            self._narrowed(plan, kept_BNY & cached_BN[..., None]), watched_BN=block_BN
        )

    def _narrowed(self, plan: Plan, kept_BNY: Tensor) -> Plan:
        width = int(kept_BNY.shape[1] * self.keep)
        return attrs.evolve(plan, layers_BNY=kept_BNY, layers_width=width)

    def _block(self, view: View) -> Tensor:
        return between(view, source_B(view, view.block.start_B), view.block.stop_B)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """What each layer reads until the row enters its next block."""
        view, taps = outcome.view, outcome.prediction.taps
        kept_BNY = view.recall(self)["kept"]
        if view.settled > self.delay:
            return {"kept": kept_BNY}
        assert taps is not None  # noqa: S101 - declared in `need`
        assert taps.relevance_BNY is not None  # noqa: S101 - watched until rated
        other_BN = view.canvas.inside_BN & ~self._block(view)
        rating_B11 = (view.block_step_B == self.delay)[:, None, None]
        chosen_BNY = self._highest(taps.relevance_BNY, other_BN)
        return {"kept": torch.where(rating_B11, chosen_BNY, kept_BNY)}

    def _highest(self, rating_BNY: Tensor, other_BN: Tensor) -> Tensor:
        """The share of the other positions that is rated highest, `best_BNY`.

        What lies before the block and what lies after it are neighbours.
        """
        order_BN = other_BN.int().argsort(dim=1, descending=True, stable=True)
        index_BNY = order_BN[..., None].expand_as(rating_BNY)
        closed_BNY = rating_BNY.masked_fill(~other_BN[..., None], -torch.inf).gather(1, index_BNY)
        pooled_BYN = torch.nn.functional.max_pool1d(
            closed_BNY.transpose(1, 2), self.kernel, stride=1, padding=self.kernel // 2
        )
        real_BN = other_BN.gather(1, order_BN)
        pooled_BYN = pooled_BYN.masked_fill(~real_BN[:, None], -torch.inf)
        rank_BYN = pooled_BYN.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        count_B = (other_BN.sum(dim=1).double() * self.keep).long()
        best_BNY = (rank_BYN < count_B[:, None, None]).transpose(1, 2)
        return torch.zeros_like(best_BNY).scatter(1, index_BNY, best_BNY)

    def provides(self) -> Literal["block"]:
        """Every pass covers the current block."""
        return "block"

    def freezes(self) -> Literal["blocks"]:
        """Other blocks wait for the row to enter the next one."""
        return "blocks"

    def exact(self) -> bool:
        """Stored keys and values miss later tokens, and some are not read."""
        return False

    def forks(self) -> bool:
        """What is read is chosen once in a block."""
        return True
