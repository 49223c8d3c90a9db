"""A quota whose doubtful part waits for the next step.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n

__all__ = ["DeferredQuota"]


@attrs.frozen
class DeferredQuota(TransferRule):
    """A quota by rank of which only sure positions are committed; the rest adds to the next quota.

    The best position is always committed.  After the planned steps, further ones follow until no
    mask is left.  Source: Fast-dLLM (arXiv:2505.22618), Dream with `alg=confidence_threshold`.
    """

    name = "deferred-quota"
    reads = frozenset({"probability"})

    steps: int = option(32, doc="planned steps for each block", check=at_least(1))
    threshold: float = option(
        0.9, doc="smallest probability that is committed", check=(at_least(0), at_most(1))
    )

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The sure ones among the best positions that are due, and the best one."""
        masks_B, planned = view.block_masks_B, self.steps
        due_B = masks_B * (view.block_step_B + 1).clamp_max(planned) // planned
        decided_B = masks_B - view.eligible_BP.sum(dim=1)
        open_BP = top_n(confidence_BP, view.eligible_BP, (due_B - decided_B)[:, None])
        sure_BP = open_BP & (confidence_BP >= self.threshold)
        return sure_BP | top_n(confidence_BP, view.eligible_BP, 1)
