"""A network that notes how long each forward pass takes; the loop itself measures nothing."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from dlmkit.need import Need
    from dlmkit.network import Network, NetworkInfo, NetworkInputs, NetworkOutput

__all__ = ["TimedNetwork", "wait_for"]


class TimedNetwork:
    """Passes every call on to a network; `seconds` lists how long each took."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.seconds: list[float] = []

    @property
    def info(self) -> NetworkInfo:
        """Facts about the network."""
        return self._network.info

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run one pass, from an idle device to an idle device."""
        wait_for(self.info.device)
        started = perf_counter()
        output = self._network.forward(inputs, need)
        wait_for(self.info.device)
        self.seconds.append(perf_counter() - started)
        return output


def wait_for(device: torch.device) -> None:
    """Let a CUDA device finish what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
