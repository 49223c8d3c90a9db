"""State by canvas position, read and written through the window of a step.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.view import View

__all__ = ["decided_here", "read", "write"]


def read(state_BN: Tensor, view: View) -> Tensor:
    """Values at the window's positions, `state_BP`, or `state_BPV` of a state with tokens."""
    return state_BN[_rows(state_BN), view.positions_BP]


def write(state_BN: Tensor, values_BP: Tensor, where_BP: Tensor, view: View) -> Tensor:
    """The state with new values where `where_BP` says so.

    Filler is never written, nor a position without a prediction in this step.
    """
    columns = state_BN.shape[1]
    where_BP = where_BP & view.inside_BP
    if view.predicted_BP is not None:
        where_BP = where_BP & view.predicted_BP
    target_BP = view.positions_BP.masked_fill(~where_BP, columns)
    spare = state_BN.new_zeros(state_BN.shape[0], 1, *state_BN.shape[2:])
    wider = torch.cat((state_BN, spare), dim=1)
    wider[_rows(state_BN), target_BP] = values_BP.to(state_BN.dtype)
    return wider[:, :columns]


def _rows(state_BN: Tensor) -> Tensor:
    return torch.arange(state_BN.shape[0], device=state_BN.device)[:, None]


def decided_here(view: View) -> Tensor:
    """The step that decided each position, `[B, P]` int32; -1 on masks, given text, filler."""
    return view.canvas.commit_step_BN.gather(1, view.positions_BP).masked_fill(~view.inside_BP, -1)
