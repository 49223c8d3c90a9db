"""Chains of a pipeline's next steps, and how far a second look at them agrees.

Legend: B rows, N canvas positions, X states.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["agreement", "furthest"]


def agreement(
    state_BXN: Tensor, target_BXN: Tensor, mask_id: int, kind: Literal["exact", "subset"]
) -> Tensor:
    """Whether the step from state i leads to state j, `agree_BXX`.

    `exact`: they are equal; `subset`: the step reveals what state j holds, and perhaps more.
    """
    same_BXXN = target_BXN[:, :, None] == state_BXN[:, None]
    if kind == "subset":
        same_BXXN = same_BXXN | (state_BXN == mask_id)[:, None]
    return same_BXXN.all(dim=3)


def furthest(agree_BXX: Tensor) -> Tensor:
    """The last state that is reached from the first by steps that agree, `reached_B` int64.

    From each state the furthest one counts to which its step leads.
    """
    states = agree_BXX.shape[1]
    place_X = torch.arange(states, device=agree_BXX.device)
    reached_B = torch.zeros(len(agree_BXX), dtype=torch.int64, device=agree_BXX.device)
    for _ in range(states - 1):
        index_B1X = reached_B[:, None, None].expand(-1, 1, states)
        leads_BX = agree_BXX.gather(1, index_B1X)[:, 0]
        reached_B = torch.where(leads_BX, place_X, 0).amax(dim=1).maximum(reached_B)
    return reached_B
