"""Short ways to call a network in tests."""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.need import Need
from dlmkit.network import Network, NetworkInputs, NetworkOutput

LOGITS = Need(logits=True)


def feed(network: Network, ids_BQ: Tensor, need: Need = LOGITS, **inputs) -> NetworkOutput:
    """Feed every position in order and want every row, unless told otherwise."""
    rows, count = ids_BQ.shape
    every_BQ = torch.arange(count, device=ids_BQ.device).expand(rows, count)
    inputs.setdefault("positions_BQ", every_BQ)
    inputs.setdefault("want_BS", every_BQ)
    return network.forward(NetworkInputs(ids_BQ=ids_BQ, **inputs), need)


def logits(network: Network, ids_BQ: Tensor, **inputs) -> Tensor:
    found_BSV = feed(network, ids_BQ, **inputs).logits_BSV
    assert found_BSV is not None
    return found_BSV
