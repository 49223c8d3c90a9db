"""Append, then attend: attention over cached keys followed by those of the fed positions.

Every network uses this, whatever else is in it.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, H query heads, G key/value
heads, E head dimension, F = H * E, Y layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

__all__ = ["Pair", "appended", "attend", "of_layer"]

Pair = tuple[Tensor, Tensor]
"""Rotated keys, and values."""


def of_layer(past_k_YBGCE: Tensor | None, past_v_YBGCE: Tensor | None, layer: int) -> Pair | None:
    """What is cached of one layer, each `[B, G, C, E]`; None where nothing is."""
    if past_k_YBGCE is None or past_v_YBGCE is None:
        return None
    return past_k_YBGCE[layer], past_v_YBGCE[layer]


def appended(past: Pair | None, k_BGQE: Tensor, v_BGQE: Tensor) -> Pair:
    """What is cached, then what is fresh, each `[B, G, K, E]`."""
    if past is None:
        return k_BGQE, v_BGQE
    return torch.cat((past[0], k_BGQE), dim=2), torch.cat((past[1], v_BGQE), dim=2)


def attend(
    q_BHQE: Tensor, keys_BGKE: Tensor, values_BGKE: Tensor, mask_B1QK: Tensor | None
) -> Tensor:
    """Mix the values that rotated queries attend to; heads side by side, `mixed_BQF`.

    Neighbouring query heads share a key/value head where there are fewer of those.  The mask is
    boolean, true where a query may attend; None lets every query see every key.
    """
    mixed_BHQE = F.scaled_dot_product_attention(
        q_BHQE,
        keys_BGKE,
        values_BGKE,
        attn_mask=mask_B1QK,
        enable_gqa=keys_BGKE.shape[1] != q_BHQE.shape[1],
    )
    return mixed_BHQE.transpose(1, 2).flatten(2)
