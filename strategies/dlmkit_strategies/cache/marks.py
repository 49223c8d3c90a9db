"""Marks on the canvas that cache policies plan with.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.view import View

__all__ = ["between", "columns_1N", "predicting", "source_B", "undecided_here", "working"]


def columns_1N(view: View) -> Tensor:
    """The numbers of all canvas positions."""
    return torch.arange(view.tokens_BN.shape[1], device=view.tokens_BN.device)[None]


def between(view: View, start_B: Tensor, stop_B: Tensor) -> Tensor:
    """Positions of each row from its start to its stop (exclusive), bool."""
    places_1N = columns_1N(view)
    return (places_1N >= start_B[:, None]) & (places_1N < stop_B[:, None])


def source_B(view: View, position_B: Tensor) -> Tensor:
    """The position whose row predicts a position: one before it in logit-shifted families."""
    return (position_B - view.info.logit_shift).clamp_min(0)


def working(view: View) -> Tensor:
    """Positions, without padding, of the rows that have something left to decide, bool."""
    masked_BN = view.canvas.masked_BN
    live_B = masked_BN.any(dim=1) & ~view.canvas.done_B
    return view.canvas.inside_BN & live_B[:, None]


def undecided_here(view: View) -> Tensor:
    """Masks of each row's current block, bool."""
    return view.canvas.masked_BN & between(view, view.block.start_B, view.block.stop_B)


def predicting(view: View, wanted_BN: Tensor) -> Tensor:
    """Positions whose rows predict the wanted ones, bool."""
    if not view.info.logit_shift:
        return wanted_BN
    sources_BN = torch.zeros_like(wanted_BN)
    sources_BN[:, :-1] = wanted_BN[:, 1:]
    sources_BN[:, 0] |= wanted_BN[:, 0]
    return sources_BN
