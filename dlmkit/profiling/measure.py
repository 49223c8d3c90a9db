"""Measuring what a forward pass of a network costs at given shapes.

Legend: B rows, Q fed positions.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import torch

from dlmkit.benchmarking.timing import wait_for
from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.profiling.costs import CostTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dlmkit.network import Network
    from dlmkit.profiling.costs import Shape

__all__ = ["FED", "ROWS", "measure_costs"]

ROWS = (1, 2, 4, 8, 16)
"""Numbers of rows that are measured unless others are asked for."""

FED = (1, 8, 32, 64, 128)
"""Numbers of fed positions that are measured unless others are asked for."""


def measure_costs(
    network: Network,
    rows: Sequence[int] = ROWS,
    fed: Sequence[int] = FED,
    *,
    repeats: int = 3,
    advance: Callable[[], None] = lambda: None,
) -> CostTable:
    """Time passes over random tokens, predicting every fed position and reading no cache.

    Each shape runs once unmeasured; the fastest of the repeats counts, because whatever else the
    machine does only ever adds.  `advance` is called after each shape.

    Raises:
        EngineError: the largest shape does not fit into memory.
    """
    seconds: dict[Shape, float] = {}
    for shape in sorted((each_rows, each_fed) for each_rows in rows for each_fed in fed):
        inputs = _inputs(network, shape)
        times = [_seconds(network, inputs) for _ in range(repeats + 1)]
        seconds[shape] = min(times[1:])
        advance()
    return CostTable(seconds)


def _inputs(network: Network, shape: Shape) -> NetworkInputs:
    info = network.info
    generator = torch.Generator().manual_seed(0)
    ids_BQ = torch.randint(info.vocab_size, shape, generator=generator).to(info.device)
    places_BQ = torch.arange(shape[1], device=info.device).expand(shape)
    return NetworkInputs(
        ids_BQ=ids_BQ,
        positions_BQ=places_BQ.clamp_max(info.max_positions - 1),
        want_BS=places_BQ,
    )


def _seconds(network: Network, inputs: NetworkInputs) -> float:
    device = network.info.device
    wait_for(device)
    started = perf_counter()
    network.forward(inputs, Need())
    wait_for(device)
    return perf_counter() - started
