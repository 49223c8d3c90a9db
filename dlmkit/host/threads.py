"""How many threads PyTorch uses for the tensor work around networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from dlmkit.network import NetworkInfo

__all__ = ["LeftToNetworks"]


class LeftToNetworks:
    """Let PyTorch use one thread where every network computes on threads of its own.

    Threads that PyTorch wakes spin for a while after their work, on cores that the next pass
    needs; what surrounds a pass is too little to be worth them.  It can be entered again and again.
    """

    def __init__(self, infos: Iterable[NetworkInfo]) -> None:
        self._apart = all(info.own_threads for info in infos)
        self._before = 1

    def __enter__(self) -> None:
        if self._apart:
            self._before = torch.get_num_threads()
        if self._before > 1:
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self._before > 1:
            torch.set_num_threads(self._before)
