"""Numbers of the host as tensors, made once: making one stops a GPU until it has arrived."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["constant", "counted"]


@lru_cache(maxsize=256)
def constant(
    values: tuple[Any, ...], device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """The same tensor for the same numbers, which nobody may change; tuples may nest."""
    return torch.tensor(values, dtype=dtype, device=device)


@lru_cache(maxsize=256)
def counted(count: int, device: torch.device) -> Tensor:
    """The numbers from 0 up to `count`, int64, in a tensor that nobody may change."""
    return torch.arange(count, device=device)
