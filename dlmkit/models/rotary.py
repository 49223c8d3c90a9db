"""Rotary position embedding in the two-halves layout.

Legend: B rows, Q fed positions, H heads, E head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from dlmkit.models.arch import RotarySpec

__all__ = ["Rotary", "rotate"]


class Rotary(nn.Module):
    """Cosines and sines of explicit positions, computed in float32 at least.

    Frequencies are recomputed from the description on use and never stored, so a model may be
    built without memory and filled later.
    """

    def __init__(self, spec: RotarySpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, positions_BQ: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return `cos_BQE` and `sin_BQE` over the rotating dimensions."""
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        steps_E = torch.arange(0, self.spec.dim, 2, device=positions_BQ.device, dtype=torch.float32)
        inverse_E = 1.0 / (self.spec.base ** (steps_E / self.spec.dim))
        angles_BQE = positions_BQ[..., None].to(wide) * inverse_E.to(wide)
        both_BQE = torch.cat((angles_BQE, angles_BQE), dim=-1)
        return both_BQE.cos(), both_BQE.sin()


def rotate(x_BHQE: Tensor, cos_BQE: Tensor, sin_BQE: Tensor) -> Tensor:
    """Rotate the leading dimensions of each head; the rest pass through unchanged."""
    dim = cos_BQE.shape[-1]
    wide_BHQE = x_BHQE[..., :dim].to(cos_BQE.dtype)
    first_BHQE, second_BHQE = wide_BHQE.chunk(2, dim=-1)
    turned_BHQE = torch.cat((-second_BHQE, first_BHQE), dim=-1)
    out_BHQE = wide_BHQE * cos_BQE[:, None] + turned_BHQE * sin_BQE[:, None]
    out_BHQE = out_BHQE.to(x_BHQE.dtype)
    return torch.cat((out_BHQE, x_BHQE[..., dim:]), dim=-1) if dim < x_BHQE.shape[-1] else out_BHQE
