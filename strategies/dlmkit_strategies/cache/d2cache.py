"""A cache that chooses position by position what is worth computing again.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

import math
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
from dlmkit_strategies.cache.marks import (
    between,
    cold,
    columns_1N,
    decided,
    lowest,
    predicting,
    undecided_here,
    working,
)
from dlmkit_strategies.positions import write

__all__ = ["D2Cache"]


@attrs.frozen
class D2Cache(CachePolicy):
    """Compute promising masks, what was just decided, and what the others attend to most.

    A mask is promising by its probability times the share of known text around it (a Gaussian of
    width `sigma`); masks of the block come first, then those of following blocks until `masks`
    are in sight.  Of the rest, the positions with the largest attention rollout in the last pass
    are computed, up to a share `rollout` of it.  All others are read as they were computed last.
    Source: d2Cache (arXiv:2509.23094), k, sigma and p, where the probability is that of the last
    pass that computed the mask; in its code that of the first, `confidence: first`.
    """

    name = "d2cache"
    need = Need(taps=frozenset({"rollout"}))
    span = "region"
    requires = frozenset({"attention-taps"})
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("confidence", "float32", 0, keep=True),
        StateField("rollout", "float32", 0, keep=True),
    )

    masks: int = option(32, doc="masks computed in a step (k)", check=at_least(1))
    sigma: float = option(10.0, doc="width of the neighbourhood, in positions", check=above(0))
    rollout: float = option(
        0.1, doc="share of the rollout that is computed again (p)", check=(at_least(0), at_most(1))
    )
    inflate: int = option(
        0, doc="computed positions this far apart take all between them along", check=at_least(0)
    )
    confidence: Literal["latest", "first"] = option("latest", doc="whose probability counts")

    def plan(self, view: View) -> Plan:
        """Everything in the first step, then what is chosen."""
        if not view.step:
            return Plan.of(working(view), commit_BN=working(view))
        fresh_BN = decided(view) & (view.canvas.commit_step_BN == view.step - 1)
        chosen_BN = predicting(view, self._promising(view)) | fresh_BN
        chosen_BN = self._inflated(chosen_BN | self._influential(chosen_BN, view), view)
        if view.taken_B is not None:
            chosen_BN = chosen_BN | (view.taken_B == 0)[:, None]
        compute_BN = chosen_BN & working(view)
        return Plan.of(compute_BN, cached_BN=~compute_BN, commit_BN=compute_BN)

    def _promising(self, view: View) -> Tensor:
        """The masks with the best scores, those of the block before all others."""
        masked_BN = view.canvas.masked_BN & view.canvas.inside_BN
        score_BN = view.recall(self)["confidence"] * self._known_around(view)
        here_BN = undecided_here(view)
        score_BN = score_BN + here_BN * score_BN.amax(dim=1, keepdim=True)
        reached_BN = masked_BN.cumsum(dim=1) >= self.masks
        columns, width = columns_1N(view), view.block.width
        last_B = torch.where(reached_BN, columns, columns.shape[1]).amin(dim=1)
        start_B = view.canvas.start_B
        end_B = start_B + ((last_B - start_B) // width + 1) * width
        sight_BN = masked_BN & between(view, view.block.start_B, end_B)
        count_B = torch.full_like(start_B, self.masks)
        return lowest(-score_BN, here_BN | sight_BN, count_B)

    def _known_around(self, view: View) -> Tensor:
        """Share of known text, weighted by distance; before the row it is known.

        What lies behind the row counts as its last token does.
        """
        radius = math.ceil(4 * self.sigma)
        known_BN = (~view.canvas.masked_BN).float()
        last_B1 = known_BN.gather(1, view.canvas.length_B[:, None] - 1)
        known_BN = torch.where(view.canvas.inside_BN, known_BN, last_B1)
        before_BR = known_BN.new_ones((len(known_BN), radius))
        wide_BM = torch.cat((before_BR, known_BN, last_B1.expand(-1, radius)), dim=1)
        distance = torch.arange(-radius, radius + 1, device=known_BN.device)
        weight = torch.exp(-(distance**2) / (2 * self.sigma**2))
        weight = (weight / weight.sum()).to(known_BN.dtype)
        return torch.nn.functional.conv1d(wide_BM[:, None], weight[None, None])[:, 0]

    def _influential(self, chosen_BN: Tensor, view: View) -> Tensor:
        """The other positions with the largest rollout, within the share, and at least one."""
        other_BN = view.canvas.inside_BN & ~chosen_BN
        mass_BN = torch.where(other_BN, view.recall(self)["rollout"], 0)
        share_BN = mass_BN / mass_BN.sum(dim=1, keepdim=True).clamp_min(1e-9)
        order_BN = share_BN.masked_fill(~other_BN, -1).argsort(dim=1, descending=True, stable=True)
        limit = self.rollout if self.rollout < 1 else math.inf  # sums round above 1
        within_BN = share_BN.gather(1, order_BN).cumsum(dim=1) <= limit
        within_BN[:, 0] = True
        return torch.zeros_like(other_BN).scatter(1, order_BN, within_BN) & other_BN

    def _inflated(self, chosen_BN: Tensor, view: View) -> Tensor:
        """Fill gaps between chosen positions that are close to each other."""
        if not self.inflate:
            return chosen_BN
        columns, beyond = columns_1N(view), chosen_BN.shape[1] + self.inflate + 1
        next_BN = torch.where(chosen_BN, columns, beyond).flip(1).cummin(dim=1).values.flip(1)
        last_BN = torch.where(chosen_BN, columns, -beyond).cummax(dim=1).values
        return next_BN - last_BN <= self.inflate

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The probability of each mask's best token, and the rollout of the pass."""
        view, taps = outcome.view, outcome.prediction.taps
        assert taps is not None  # noqa: S101 - declared in `need`
        assert taps.rollout_BN is not None  # noqa: S101 - declared in `need`
        memory, best_BP = view.recall(self), outcome.prediction.pack.top_logp_BPK[..., 0].exp()
        confidence_BN = memory["confidence"]
        if self.confidence == "latest":
            confidence_BN = write(confidence_BN, best_BP, view.masked_BP, view)
        elif not view.step or view.taken_B is not None:
            cold_B = torch.zeros_like(view.canvas.done_B) | cold(view)
            first_BP = view.masked_BP & cold_B[:, None]
            confidence_BN = write(confidence_BN, best_BP, first_BP, view)
        return {"confidence": confidence_BN, "rollout": taps.rollout_BN.float()}

    def provides(self) -> Literal["some"]:
        """Only promising masks."""
        return "some"

    def freezes(self) -> Literal["tokens"]:
        """Whatever is not chosen."""
        return "tokens"

    def exact(self) -> bool:
        """What is not chosen misses later tokens."""
        return False
