"""Stop rules: rows that need no more steps.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.roles import StopRule
from dlmkit.view import View

__all__ = ["EndOfText"]


@attrs.frozen
class EndOfText(StopRule):
    """Stop a row once an end-of-text token is decided and nothing before it is undecided.

    Whatever follows the token is cut from the text anyway; its masks stay.  Source: dlmkit.
    """

    name = "end-of-text"

    def stop(self, view: View) -> Tensor:
        """Rows whose first generated end token has no mask before it."""
        canvas = view.canvas
        ends = torch.tensor((*view.info.eos_ids, *view.info.eot_ids), device=view.tokens_BN.device)
        ending_BN = torch.isin(view.tokens_BN, ends) & ~canvas.given_BN
        ended_before_BN = ending_BN.cumsum(dim=1) > 0
        waiting_B = (canvas.masked_BN & ~ended_before_BN).any(dim=1)
        return ending_BN.any(dim=1) & ~waiting_B
