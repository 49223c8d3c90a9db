"""Legend: B rows, P window positions."""

import attrs
import torch

from dlmkit.bounds import above, at_most
from dlmkit.component import option
from dlmkit.roles import TransferRule


@attrs.frozen
class Share(TransferRule):
    """Commit a share of the masks that are left in the block, the surest first.

    Source: the first-strategy tutorial of dlmkit.
    """

    name = "share"

    share: float = option(
        0.25, doc="share of the remaining masks in each step", check=[above(0), at_most(1)]
    )

    def select(self, confidence_BP, view):
        """The best positions, their number rounded up, so that each step decides something."""
        count_B1 = (view.eligible_BP.sum(dim=1, keepdim=True) * self.share).ceil()
        lowest = torch.finfo(confidence_BP.dtype).min
        ranked_BP = confidence_BP.clamp_min(lowest).masked_fill(~view.eligible_BP, -torch.inf)
        order_BP = ranked_BP.argsort(dim=1, descending=True, stable=True)
        rank_BP = order_BP.argsort(dim=1)
        return (rank_BP < count_B1) & view.eligible_BP
