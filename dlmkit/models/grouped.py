"""One linear map per group of rows, the groups lying one after the other.

Group sizes are data and never leave the device: nothing here depends on their values in Python,
so that the same code compiles and exports.

Legend: A rows sorted by group, X groups, I inputs, O outputs, L tiles, M rows of a tile.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

__all__ = ["grouped_linear", "tiled_linear"]

_KERNEL_TYPES = (torch.bfloat16, torch.float16, torch.float32)
_ALIGNMENT = 16
"""Bytes that rows of the kernel's operands must be a multiple of."""


def grouped_linear(x_AI: Tensor, weight_XOI: Tensor, ends_X: Tensor) -> Tensor:
    """Return `out_AO`: rows before `ends_X[0]` times the first matrix, and so on.

    Uses PyTorch's grouped kernel where it applies, which reads no weight twice.
    """
    sizes = (weight_XOI.shape[1], weight_XOI.shape[2])
    aligned = all(size * x_AI.dtype.itemsize % _ALIGNMENT == 0 for size in sizes)
    offered = hasattr(F, "grouped_mm") and not torch.compiler.is_exporting()
    if offered and aligned and x_AI.dtype in _KERNEL_TYPES:
        return F.grouped_mm(x_AI, weight_XOI.transpose(1, 2), offs=ends_X.to(torch.int32))
    return tiled_linear(x_AI, weight_XOI, ends_X)


def tiled_linear(x_AI: Tensor, weight_XOI: Tensor, ends_X: Tensor) -> Tensor:
    """The same with ordinary operations: groups are padded to whole tiles of one shape.

    A tile has as many rows as the average group, so at most one tile per group is partly empty.
    """
    rows, groups = x_AI.shape[0], ends_X.shape[0]
    if rows == 0:
        return x_AI.new_zeros((0, weight_XOI.shape[1]))
    tile = (rows + groups - 1) // groups
    tiles = rows // tile + min(groups, rows)
    starts_X = F.pad(ends_X[:-1], (1, 0))
    tile_ends_X = ((ends_X - starts_X + tile - 1) // tile).cumsum(0)
    tile_starts_X = F.pad(tile_ends_X[:-1], (1, 0))
    rows_A = torch.arange(rows, device=x_AI.device)
    group_A = _group_of(rows_A, ends_X)
    place_A = tile_starts_X[group_A] * tile + rows_A - starts_X[group_A]
    padded_LMI = x_AI.new_zeros((tiles * tile, x_AI.shape[1])).index_copy(0, place_A, x_AI)
    padded_LMI = padded_LMI.view(tiles, tile, -1)
    group_L = _group_of(torch.arange(tiles, device=x_AI.device), tile_ends_X)
    weight_LOI = weight_XOI[group_L.clamp_max(groups - 1)]
    out_LMO = torch.bmm(padded_LMI, weight_LOI.transpose(1, 2))
    return out_LMO.flatten(0, 1)[place_A]


def _group_of(index_A: Tensor, ends_X: Tensor) -> Tensor:
    """Return the group that each index falls into, given where groups end."""
    return (index_A[:, None] >= ends_X).sum(1)
