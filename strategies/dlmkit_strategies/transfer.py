"""Transfer rules: which proposals become tokens in this step.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from functools import lru_cache

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most, below
from dlmkit.component import option
from dlmkit.roles import TransferRule
from dlmkit.schedules import Schedule, value_at
from dlmkit.view import View
from dlmkit_strategies.kernels import rank, top_n

__all__ = ["Factor", "Independent", "Quota", "Threshold", "TimeGrid", "TopK"]


@attrs.frozen
class Quota(TransferRule):
    """A number of commits fixed in advance: the block's masks spread evenly over its steps.

    A remainder goes to the first steps.  With more steps than masks the rest is not run.
    Source: LLaDA (arXiv:2502.09992), `get_num_transfer_tokens`; its `steps` counts all blocks,
    this option counts those of one block.
    """

    name = "quota"

    steps: int = option(32, doc="steps for each block", check=at_least(1), key="steps_per_block")

    def steps_per_block(self, width: int) -> int:
        """The fixed number, or one step for each mask if there are fewer masks."""
        return min(self.steps, width)

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The share of this step, most confident first."""
        masks_B, step_B = view.block_masks_B, view.block_step_B
        share_B = masks_B // self.steps + (step_B < masks_B % self.steps)
        # Past the end of the schedule, what a reviser reopened is decided one by one.
        share_B = share_B.clamp_min(1)
        return top_n(confidence_BP, view.eligible_BP, share_B[:, None])


@attrs.frozen
class TopK(TransferRule):
    """The k most confident positions in every step.

    Source: MaskGIT (arXiv:2202.04200), with a constant number instead of a schedule.
    """

    name = "top-k"

    k: int = option(1, doc="commits in each step and row", check=at_least(1))

    def steps_per_block(self, width: int) -> int:
        """The block's masks divided by k, rounded up."""
        return -(-width // self.k)

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The best k, or all that are left."""
        return top_n(confidence_BP, view.eligible_BP, self.k)


@attrs.frozen
class Threshold(TransferRule):
    """Every position whose confidence reaches a threshold, and at least the best one.

    Source: Fast-dLLM (arXiv:2505.22618), confidence-aware parallel decoding.
    """

    name = "threshold"
    reads = frozenset({"probability"})

    threshold: float | Schedule = option(
        0.9, doc="smallest probability that is committed", check=(at_least(0), at_most(1))
    )

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Confident positions and the best one."""
        sure_BP = confidence_BP >= value_at(self.threshold, view)
        return (sure_BP & view.eligible_BP) | top_n(confidence_BP, view.eligible_BP, 1)


@attrs.frozen
class Factor(TransferRule):
    """As many positions as jointly stay sure: the largest n with (n + 1)(1 - c_n) < factor.

    c_n is the n-th largest probability; at least one position is committed.  The prefix of
    passing ranks is taken; the published code accepts one too many when the last rank is the
    first to fail.  Source: Fast-dLLM (arXiv:2505.22618), theorem 1 and `factor`.
    """

    name = "factor"
    reads = frozenset({"probability"})

    factor: float = option(1.0, doc="bound on (n + 1)(1 - probability)", check=above(0))

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The passing prefix of the ranking, at least one."""
        rank_BP = rank(confidence_BP, view.eligible_BP)
        passes_BP = (rank_BP + 2) * (1.0 - confidence_BP) < self.factor
        failing_BP = view.eligible_BP & ~passes_BP
        none = rank_BP.shape[-1]
        first_B1 = torch.where(failing_BP, rank_BP, none).amin(dim=-1, keepdim=True)
        return (rank_BP < first_B1.clamp_min(1)) & view.eligible_BP


@attrs.frozen
class OnTimeGrid(TransferRule):
    """What rules have in common that follow Dream's time grid, in float32 as published."""

    may_wait = True

    steps: int = option(doc="steps for each block", check=at_least(1), examples=(64, 128))
    eps: float = option(1e-3, doc="last time of the grid", check=(above(0), below(1)))

    def steps_per_block(self, width: int) -> int:
        """The fixed number."""
        return self.steps

    def share_B(self, view: View) -> Tensor:
        """Each row's share of masks to decide in this step: 1 - s/t, and 1 in the last one."""
        step_B = view.block_step_B.clamp_max(self.steps - 1)
        return _time_shares(self.steps, self.eps, step_B.device)[step_B]


@lru_cache(maxsize=16)
def _time_shares(steps: int, eps: float, device: torch.device) -> Tensor:
    time = torch.linspace(1, eps, steps + 1, dtype=torch.float32, device=device)
    share = 1 - time[1:] / time[:-1]
    share[-1] = 1
    return share


@attrs.frozen
class TimeGrid(OnTimeGrid):
    """A share of the remaining masks, fixed by a time grid from 1 to eps; the last step takes all.

    The share is floor(masks x (1 - s/t)) in float32, as published, so with as many steps as masks
    the first step commits nothing and the last one two.  Masks are counted for each row; the
    published code uses the batch mean.  Source: Dream (arXiv:2508.15487), `diffusion_generate`.
    """

    name = "time-grid"

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The share of this step, most confident first."""
        masks_B = view.eligible_BP.sum(dim=1)
        count_B = (masks_B.float() * self.share_B(view)).long()
        return top_n(confidence_BP, view.eligible_BP, count_B[:, None])


@attrs.frozen
class Independent(OnTimeGrid):
    """Each position on its own with probability 1 - s/t of a time grid; the last step takes all.

    Confidence plays no part.  Source: the reverse process of masked diffusion as in Dream's
    default `origin` (arXiv:2508.15487), and LLaDA (arXiv:2502.09992), section 2.
    """

    name = "independent"
    stochastic = True

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """A coin for each position."""
        return (view.uniform_BP(self.name) < self.share_B(view)[:, None]) & view.eligible_BP
