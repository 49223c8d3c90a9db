"""A cache for decoding in an order that is known beforehand.

Legend: B rows, N canvas positions, W positions of a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import StateField, option
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import (
    columns_1N,
    decided,
    lowest,
    predicting,
    quota_until,
    undecided_here,
    working,
)
from dlmkit_strategies.order import DrawnOrder, PositionOrder

__all__ = ["DelayedGreedy"]

_NOWHERE = 1 << 40
"""Further away than any position."""


@attrs.frozen
class DelayedGreedy(CachePolicy):
    """Compute what was decided in the last step, what is decided now, and a window around that.

    All other positions are read as they were computed last.  What is decided now follows from
    the order, which `confidence` should name too, and from a transfer rule with a fixed number
    of steps.
    Source: dKV-Cache (arXiv:2505.15781), dKV-Cache-Greedy.
    """

    name = "dkv-greedy"
    requires = frozenset({"fixed-steps"})
    state: ClassVar[tuple[StateField, ...]] = (StateField("known", "bool", 0),)

    order: PositionOrder = option(DrawnOrder(), doc="the order in which positions are decided")
    refresh: int = option(
        2, doc="steps of a block from one whole pass to the next; 1: no reuse", check=at_least(1)
    )
    window: int = option(
        4, doc="masks computed around each position that is decided now", check=at_least(0)
    )

    def plan(self, view: View) -> Plan:
        """The few positions that matter now; everything when a refresh is due."""
        due_B1 = (view.block_step_B % self.refresh == 0)[:, None]
        fresh_BN = decided(view) & ~view.recall(self)["known"]
        masks_BN = self._masks(view)
        compute_BN = (fresh_BN | masks_BN | predicting(view, masks_BN) | due_B1) & working(view)
        return Plan.of(compute_BN, cached_BN=~compute_BN & ~due_B1, commit_BN=compute_BN)

    def _masks(self, view: View) -> Tensor:
        """The masks decided now, and each one's nearest masks that are not yet chosen."""
        next_B, now_B = quota_until(view, view.block_step_B + 1), view.block_step_B
        count_B = (next_B - quota_until(view, now_B)).clamp_min(1)
        columns_BN = columns_1N(view).expand_as(view.tokens_BN)
        key_BN = -self.order.priority(columns_BN, view)
        left_BN = undecided_here(view)
        chosen_BN = targets_BN = lowest(key_BN, left_BN, count_B)
        most = -(-view.block.width // (view.steps_per_block or 1))
        order_BN = key_BN.masked_fill(~targets_BN, torch.inf).argsort(dim=1, stable=True)
        for place_B1 in torch.split(order_BN[:, :most], 1, dim=1):
            real_B1 = targets_BN.gather(1, place_B1)
            chosen_BN = chosen_BN | (self._around(place_B1, chosen_BN, view) & real_B1)
        return chosen_BN

    def _around(self, place_B1: Tensor, chosen_BN: Tensor, view: View) -> Tensor:
        """The masks next to a position, the left one first where two are equally near."""
        offset_BN = columns_1N(view) - place_B1
        free_BN = view.canvas.masked_BN & ~chosen_BN
        far_BN = (2 * offset_BN.abs() + (offset_BN > 0)).masked_fill(~free_BN, _NOWHERE)
        near_BW = far_BN.topk(min(self.window, far_BN.shape[1]), dim=1, largest=False)
        return torch.zeros_like(free_BN).scatter(1, near_BW.indices, near_BW.values < _NOWHERE)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """What was decided before this step."""
        return {"known": decided(outcome.view)}

    def provides(self) -> Literal["some", "region"]:
        """Only what the order decides now, and its window."""
        return "region" if self.exact() else "some"

    def freezes(self) -> Literal["tokens", "nothing"]:
        """Whatever is not decided now."""
        return "nothing" if self.exact() else "tokens"

    def exact(self) -> bool:
        """Only if every step is a refresh."""
        return self.refresh == 1
