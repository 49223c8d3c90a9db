"""Rotary position embedding in the two-halves layout.

Legend: B rows, Q fed positions, H heads, E head dimension, R = E / 2 frequencies.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dlmkit.models.arch import Llama3Scaling, QueryScale, RotarySpec, YarnScaling

__all__ = ["Angles", "Rotary", "frequencies", "rotate"]


class Angles(NamedTuple):
    """Cosines and sines over the rotating dimensions, and the factor of queries, if any."""

    cos_BQE: Tensor
    sin_BQE: Tensor
    query_scale_BQ: Tensor | None


class Rotary(nn.Module):
    """Cosines and sines of explicit positions, computed in float32 at least.

    Frequencies are recomputed from the description on use and never stored, so a model may be
    built without memory and filled later.
    """

    def __init__(self, spec: RotarySpec, query_scale: QueryScale | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.query_scale = query_scale

    def forward(self, positions_BQ: Tensor, dtype: torch.dtype) -> Angles:
        """Return what queries and keys at these positions are rotated by."""
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        inverse_R = self.inverse(positions_BQ.device)
        angles_BQR = positions_BQ[..., None].to(wide) * inverse_R.to(wide)
        both_BQE = torch.cat((angles_BQR, angles_BQR), dim=-1)
        cos_BQE, sin_BQE = both_BQE.cos(), both_BQE.sin()
        if isinstance(self.spec.scaling, YarnScaling):
            cos_BQE = cos_BQE * self.spec.scaling.magnitude
            sin_BQE = sin_BQE * self.spec.scaling.magnitude
        return Angles(cos_BQE, sin_BQE, self._query_scale(positions_BQ, wide))

    def inverse(self, device: torch.device) -> Tensor:
        """Radians per position, `inverse_R`; a compiler may replace this by a constant."""
        return frequencies(self.spec, device)

    def _query_scale(self, positions_BQ: Tensor, wide: torch.dtype) -> Tensor | None:
        if self.query_scale is None:
            return None
        laps_BQ = (positions_BQ // self.query_scale.original).to(wide)
        return 1 + self.query_scale.beta * torch.log1p(laps_BQ)


def frequencies(spec: RotarySpec, device: torch.device) -> Tensor:
    """`inverse_R`: radians per position of each pair of dimensions, float32."""
    steps_R = torch.arange(0, spec.dim, 2, device=device, dtype=torch.float32)
    inverse_R = 1.0 / (spec.base ** (steps_R / spec.dim))
    match spec.scaling:
        case Llama3Scaling() as scaling:
            return _llama3(inverse_R, scaling)
        case YarnScaling() as scaling:
            return _yarn(inverse_R, spec, scaling)
        case None:
            return inverse_R


def _llama3(inverse_R: Tensor, scaling: Llama3Scaling) -> Tensor:
    """Blend kept and stretched frequencies by how often they turn in the original context."""
    turns_R = scaling.original * inverse_R / (2 * math.pi)
    kept_R = ((turns_R - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    return (1 - kept_R) * inverse_R / scaling.factor + kept_R * inverse_R


def _yarn(inverse_R: Tensor, spec: RotarySpec, scaling: YarnScaling) -> Tensor:
    """Blend along the dimensions, linearly between the two borders."""
    low, high = (
        spec.dim * math.log(scaling.original / (beta * 2 * math.pi)) / (2 * math.log(spec.base))
        for beta in (scaling.beta_fast, scaling.beta_slow)
    )
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, spec.dim - 1)
    steps_R = torch.arange(inverse_R.shape[0], device=inverse_R.device, dtype=torch.float32)
    divided_R = ((steps_R - low) / max(high - low, 1e-3)).clamp(0, 1)
    return inverse_R / scaling.factor * divided_R + inverse_R * (1 - divided_R)


def rotate(x_BHQE: Tensor, angles: Angles) -> Tensor:
    """Rotate the leading dimensions of each head, `[B, H, Q, E]`; the rest pass unchanged."""
    dim = angles.cos_BQE.shape[-1]
    wide_BHQE = x_BHQE[..., :dim].to(angles.cos_BQE.dtype)
    first_BHQE, second_BHQE = wide_BHQE.chunk(2, dim=-1)
    turned_BHQE = torch.cat((-second_BHQE, first_BHQE), dim=-1)
    out_BHQE = wide_BHQE * angles.cos_BQE[:, None] + turned_BHQE * angles.sin_BQE[:, None]
    out_BHQE = out_BHQE.to(x_BHQE.dtype)
    return torch.cat((out_BHQE, x_BHQE[..., dim:]), dim=-1) if dim < x_BHQE.shape[-1] else out_BHQE
