"""A quota that a block diffusion model sets by the length of its blocks.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n

__all__ = ["BlockQuota"]


@attrs.frozen
class BlockQuota(TransferRule):
    """A number of commits fixed in advance: the length of a block spread over its steps.

    A remainder goes to the first steps.  Unlike `quota`, a block that begins with given tokens
    gets no smaller shares, so it is done in fewer steps; never more is committed than is masked.
    Source: SDAR (arXiv:2510.06303), `low_confidence_static`; joined with a threshold
    (`union`) it is `low_confidence_dynamic`.
    """

    name = "block-quota"

    length: int = option(4, doc="tokens in a block", check=at_least(1))
    steps: int = option(4, doc="steps for each block", check=at_least(1), key="steps_per_block")

    def steps_per_block(self, width: int) -> int:
        """The steps in which the shares add up to `width`."""
        each, more = divmod(self.length, self.steps)
        first = (each + 1) * more
        if width <= first:
            return -(-width // (each + 1))
        return more - (first - width) // max(each, 1)

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The share of this step, most confident first."""
        more_B = view.block_step_B < self.length % self.steps
        share_B = (self.length // self.steps + more_B).clamp_min(1)
        return top_n(confidence_BP, view.eligible_BP, share_B[:, None])
