"""ReMDM's loop: fill most of the block, then take back and refill the least likely tokens.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import Reviser, Revision, TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import decided_here

__all__ = ["FillAndRefill", "ReopenUnlikely"]

_K = "tokens filled, taken back and refilled at a time"
_FILL = "share of the masks that is filled before the loop"
_LOOPS = "times that tokens are taken back and refilled"
_SHARE = (at_least(0), at_most(1))


def _phase(view: View, k: int, fill: float) -> Tensor:
    """Steps since each row's loop began, negative before, `phase_B` int64."""
    filled_B = (view.block_masks_B * fill).long()
    return view.block_step_B - (filled_B + k - 1) // k


@attrs.frozen
class FillAndRefill(TransferRule):
    """The best k in every step, except in every second one of a loop, which `reopen-unlikely` uses.

    Source: the loop variant of ReMDM (arXiv:2503.00307) as in NEUIR/PC-Sampler,
    `generate_with_remdm`; both rules must have the same options.
    """

    name = "fill-and-refill"
    may_wait = True

    k: int = option(1, doc=_K, check=at_least(1))
    fill: float = option(0.875, doc=_FILL, check=_SHARE)
    loops: int = option(32, doc=_LOOPS, check=at_least(0))

    def steps_per_block(self, width: int) -> int:
        """Filling, two steps for each loop, and the rest."""
        filled = int(width * self.fill)
        return -(-filled // self.k) + 2 * self.loops - (-(width - filled) // self.k)

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The best k, or nothing; in the last step all, if something else took tokens back."""
        phase_B = _phase(view, self.k, self.fill)
        waits_B = (phase_B >= 0) & (phase_B < 2 * self.loops) & (phase_B % 2 == 0)
        last_B = view.block_step_B + 1 >= self.steps_per_block(view.block.width)
        best_BP = top_n(confidence_BP, view.eligible_BP, self.k)
        return (best_BP & ~waits_B[:, None]) | (view.eligible_BP & last_B[:, None])


@attrs.frozen
class ReopenUnlikely(Reviser):
    """Reopen the k tokens that are now least probable where they stand, in each pass of a loop.

    Source: the loop variant of ReMDM (arXiv:2503.00307) as in NEUIR/PC-Sampler,
    `generate_with_remdm`; goes with `fill-and-refill` of the same options.
    """

    name = "reopen-unlikely"
    need = Need(current=True)
    sees = "before"
    reopens = True

    k: int = option(1, doc=_K, check=at_least(1))
    fill: float = option(0.875, doc=_FILL, check=_SHARE)
    loops: int = option(32, doc=_LOOPS, check=at_least(0))

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """The least probable decided positions of the block."""
        current_BP = prediction.pack.current_logp_BP
        assert current_BP is not None  # noqa: S101 - declared in `need`
        phase_B = _phase(view, self.k, self.fill)
        looping_B = (phase_B >= 0) & (phase_B < 2 * self.loops) & (phase_B % 2 == 0)
        decided_BP = (decided_here(view) >= 0) & view.in_block_BP & looping_B[:, None]
        where_BP = top_n(-current_BP, decided_BP, self.k)
        return Revision(where_BP, torch.full_like(view.tokens_BP, view.canvas.mask_id))
