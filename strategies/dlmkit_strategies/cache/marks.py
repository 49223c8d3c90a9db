"""Marks on the canvas that cache policies plan with.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.errors import StrategyError
from dlmkit.view import View

__all__ = [
    "between",
    "cold",
    "columns_1N",
    "decided",
    "lowest",
    "predicting",
    "quota_until",
    "source_B",
    "undecided_here",
    "working",
]


def cold(view: View) -> Tensor | bool:
    """Rows of which nothing is stored yet, `cold_B` bool; a plain bool where all are alike."""
    return view.taken == 0


def columns_1N(view: View) -> Tensor:
    """The numbers of all canvas positions, `columns_1N` int64."""
    return torch.arange(view.tokens_BN.shape[1], device=view.tokens_BN.device)[None]


def between(view: View, start_B: Tensor, stop_B: Tensor) -> Tensor:
    """Positions of each row from its start to its stop (exclusive), `between_BN` bool."""
    places_1N = columns_1N(view)
    return (places_1N >= start_B[:, None]) & (places_1N < stop_B[:, None])


def source_B(view: View, position_B: Tensor) -> Tensor:
    """The position whose row predicts a position, `[B]`: one before it if logits are shifted."""
    return (position_B - view.info.logit_shift).clamp_min(0)


def working(view: View) -> Tensor:
    """Positions, without padding, of rows that have something left to do, `working_BN` bool."""
    live_B = view.canvas.masked_BN.any(dim=1) & ~view.canvas.done_B
    live_B = live_B if view.held_B is None else live_B | view.held_B
    return view.canvas.inside_BN & live_B[:, None]


def undecided_here(view: View) -> Tensor:
    """Masks of each row's current block, `undecided_BN` bool."""
    return view.canvas.masked_BN & between(view, view.block.start_B, view.block.stop_B)


def predicting(view: View, wanted_BN: Tensor) -> Tensor:
    """Positions whose rows predict the wanted ones, `sources_BN` bool."""
    if not view.info.logit_shift:
        return wanted_BN
    sources_BN = torch.zeros_like(wanted_BN)
    sources_BN[:, :-1] = wanted_BN[:, 1:]
    sources_BN[:, 0] |= wanted_BN[:, 0]
    return sources_BN


def decided(view: View) -> Tensor:
    """Positions, without padding, that hold a token, `decided_BN` bool."""
    return view.canvas.inside_BN & ~view.canvas.masked_BN


def lowest(key_BN: Tensor, candidate_BN: Tensor, count_B: Tensor) -> Tensor:
    """Candidates with the smallest keys, at most `count_B` of a row, `[B, N]` bool."""
    order_BN = key_BN.masked_fill(~candidate_BN, torch.inf).argsort(dim=1, stable=True)
    places_N = torch.arange(order_BN.shape[1], device=order_BN.device)
    first_BN = (places_N < count_B[:, None]).expand_as(candidate_BN)
    return torch.zeros_like(candidate_BN).scatter(1, order_BN, first_BN) & candidate_BN


def quota_until(view: View, step_B: Tensor) -> Tensor:
    """Tokens that the block's first `step_B` steps decide if its steps share them evenly.

    Raises:
        StrategyError: the transfer rule does not fix the number of steps.
    """
    steps = view.steps_per_block
    if steps is None:
        raise StrategyError(
            "the cache policy must know how many tokens each step decides, "
            "but the transfer rule does not fix the number of steps",
            hint="use a transfer rule such as quota",
        )
    each_B, rest_B = view.block_masks_B // steps, view.block_masks_B % steps
    return (each_B * step_B + step_B.minimum(rest_B)).minimum(view.block_masks_B)
