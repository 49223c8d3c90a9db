"""A cache that recomputes only the positions about to be filled.

Legend: B rows, N canvas positions, P window positions.
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
from dlmkit_strategies.cache.marks import lowest, predicting, quota_until, undecided_here, working

__all__ = ["Recap"]


@attrs.frozen
class Recap(CachePolicy):
    """Full passes, each followed by light ones over the positions of its group alone.

    A group is what its full and light passes decide together: the most confident positions of
    the full pass, as many as a transfer rule with a fixed number of steps allots.  Light passes
    compute the group, decided or not, and read everything else as the full pass left it.
    Source: ReCAP (arXiv:2505.19089), published for images; `light` is `num_cache_iters`, and
    `full` is `pre_full_iters`, here of each block.
    """

    name = "recap"
    requires = frozenset({"fixed-steps"})
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("confidence", "float64", float("-inf")),
        StateField("full_step", "int64", 0, dims="B"),
    )

    light: int = option(1, doc="light passes after each full one; 0: none", check=at_least(0))
    full: int = option(
        0, doc="steps of each block with full passes only, at its start", check=at_least(0)
    )

    def plan(self, view: View) -> Plan:
        """The group, or everything in a full pass."""
        full_B1 = self._full(view)[:, None]
        compute_BN = (self._group(view) | full_B1) & working(view)
        return Plan.of(compute_BN, cached_BN=~compute_BN & ~full_B1, commit_BN=full_B1 & compute_BN)

    def _place(self, view: View) -> Tensor:
        """Place of this step in its group, 0 for the full pass."""
        return (view.block_step_B - self.full).clamp_min(0) % (self.light + 1)

    def _full(self, view: View) -> Tensor:
        return (view.block_step_B < self.full) | (self._place(view) == 0)

    def _group(self, view: View) -> Tensor:
        """What was decided since the full pass, and what is left to be decided before the next."""
        memory = view.recall(self)
        since_B1 = memory["full_step"][:, None]
        filled_BN = (view.canvas.commit_step_BN >= since_B1) & ~view.canvas.masked_BN
        end_B = view.block_step_B - self._place(view) + self.light + 1
        left_B = quota_until(view, end_B) - quota_until(view, view.block_step_B)
        key_BN = (-memory["confidence"]).clamp_max(torch.finfo(torch.float64).max)
        next_BN = lowest(key_BN, undecided_here(view), left_B.clamp_min(1))
        return filled_BN | next_BN | predicting(view, next_BN)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The confidence that the last full pass gave to each position, and when it ran."""
        view = outcome.view
        memory, full_B = view.recall(self), self._full(view)
        spread_BN = torch.full_like(memory["confidence"], -torch.inf).scatter_reduce(
            1, view.positions_BP, outcome.confidence_BP.double(), reduce="amax"
        )
        return {
            "confidence": torch.where(full_B[:, None], spread_BN, memory["confidence"]),
            "full_step": torch.where(full_B, view.step, memory["full_step"]),
        }

    def provides(self) -> Literal["some", "region"]:
        """Only the group."""
        return "some" if self.light else "region"

    def freezes(self) -> Literal["tokens", "nothing"]:
        """Whatever is outside the group."""
        return "tokens" if self.light else "nothing"

    def exact(self) -> bool:
        """Only without light passes."""
        return not self.light

    def forks(self) -> bool:
        """Light passes store nothing, and all of a group read the same."""
        return True
