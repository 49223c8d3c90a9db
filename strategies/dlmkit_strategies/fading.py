"""Take back what the network no longer believes.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
import torch

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import Reviser, Revision
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import decided_here

__all__ = ["ReopenFaded"]


@attrs.frozen
class ReopenFaded(Reviser):
    """Reopen earlier tokens of the block that are now improbable, fewer than were just decided.

    The least probable go first; as each step decides one more than it takes back, a block ends.
    Source: the remasking variant of hierarchy decoding in dInfer (arXiv:2510.08666), which looks
    at the largest probability of the position instead of that of its token.
    """

    name = "reopen-faded"
    need = Need(current=True)
    reopens = True

    low: float = option(
        0.4, doc="probability under which a token is taken back", check=(at_least(0), at_most(1))
    )

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """The improbable tokens, all but one of this step's commits at most."""
        current_BP = prediction.pack.current_logp_BP
        assert current_BP is not None  # noqa: S101 - declared in `need`
        step_BP = decided_here(view)
        fresh_BP = step_BP == view.step
        faded_BP = (step_BP >= 0) & ~fresh_BP & view.in_block_BP & (current_BP.exp() < self.low)
        most_B1 = (fresh_BP & view.in_block_BP).sum(dim=1, keepdim=True) - 1
        where_BP = top_n(-current_BP, faded_BP, most_B1)
        return Revision(where_BP, torch.full_like(view.tokens_BP, view.canvas.mask_id))
