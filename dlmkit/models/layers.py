"""Small parts of the shared decoder: maps without initial weights, norm, gated feed-forward.

Legend: B rows, Q fed positions, D hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

__all__ = ["Embedding", "GatedMLP", "Linear", "RMSNorm", "widen"]


class Linear(nn.Linear):
    """A linear map without initial weights: they come from a file, or from who trains it."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """An embedding without initial weights."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class RMSNorm(nn.Module):
    """Root-mean-square normalisation; statistics in float32 at least, gain applied after."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x_BQD: Tensor) -> Tensor:
        """Normalise the last dimension."""
        wide_BQD = widen(x_BQD)
        normed_BQD = F.rms_norm(wide_BQD, (wide_BQD.shape[-1],), eps=self.eps)
        return self.weight * normed_BQD.to(x_BQD.dtype)


class GatedMLP(nn.Module):
    """The gated SiLU feed-forward of Llama."""

    def __init__(self, hidden: int, ffn: int) -> None:
        super().__init__()
        self.gate_proj = Linear(hidden, ffn, bias=False)
        self.up_proj = Linear(hidden, ffn, bias=False)
        self.down_proj = Linear(ffn, hidden, bias=False)

    def forward(self, x_BQD: Tensor) -> Tensor:
        """Gate, multiply, project back."""
        out_BQD: Tensor = self.down_proj(F.silu(self.gate_proj(x_BQD)) * self.up_proj(x_BQD))
        return out_BQD


def widen(values: Tensor) -> Tensor:
    """Return the values, of any shape, in float32, or float64 where they are."""
    return values if values.dtype == torch.float64 else values.float()
