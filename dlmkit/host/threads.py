"""How many threads PyTorch uses for the tensor work around networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from dlmkit.network import NetworkInfo

__all__ = ["left_to_networks"]


@contextmanager
def left_to_networks(infos: Iterable[NetworkInfo]) -> Iterator[None]:
    """Let PyTorch use one thread where every network computes on threads of its own.

    Threads that PyTorch wakes spin for a while after their work, on cores that the next pass
    needs; what surrounds a pass is too little to be worth them.
    """
    threads = torch.get_num_threads()
    if threads == 1 or not all(info.own_threads for info in infos):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
