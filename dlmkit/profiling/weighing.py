"""Weighted forward passes: every pass at its measured cost, or between two bounds.

The unit is a pass of the home network, the one whose tokens the canvas holds, over one row of the
whole canvas.

Legend: B rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import torch

from dlmkit.accounts.records import Counts
from dlmkit.models.placement import choose_device
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.store import find_costs, recorded_costs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from dlmkit.accounts.records import StepRecord
    from dlmkit.engine import LoadedModel
    from dlmkit.profiling.costs import Shape
    from dlmkit.spec.documents import ModelRef

__all__ = ["PassLog", "Prices", "Scales", "Sizes"]


class Prices(Protocol):
    """What passes of the networks of a pipeline cost."""

    def ratio(self, name: str, shape: Shape, columns: int) -> float:
        """Cost of one pass of a network, for a canvas of that many positions."""


@attrs.frozen
class Scales:
    """Measured costs of every network of a pipeline, and the name of the home network."""

    costs: Mapping[str, CostTable]
    home: str

    @classmethod
    def find(cls, models: Mapping[str, LoadedModel], home: str) -> Scales | None:
        """What was measured here for these models; None where one of them was not.

        Raises:
            RequestError: a file of measured costs is damaged.
        """
        found = {name: find_costs(model) for name, model in models.items()}
        return cls._complete(found, home)

    @classmethod
    def recorded(cls, models: Mapping[str, ModelRef], home: str) -> Scales | None:
        """The same for models that are not loaded, by where they come from.

        Raises:
            RequestError: a file of measured costs is damaged.
            EngineError: a model names a device that is not here.
        """
        found = {}
        for name, ref in models.items():
            source = models[ref.derive.source] if ref.derive else ref
            origin = f"{source.repo} {ref.derive.text}" if ref.derive else str(ref.repo)
            engine = source.engine.name if source.engine else "torch"
            found[name] = recorded_costs(origin, engine, choose_device(source.device or "auto"))
        return cls._complete(found, home)

    @classmethod
    def _complete(cls, found: Mapping[str, CostTable | None], home: str) -> Scales | None:
        known = {name: table for name, table in found.items() if table is not None}
        return cls(known, home) if len(known) == len(found) else None

    def ratio(self, name: str, shape: Shape, columns: int) -> float:
        """Cost of one pass of a network, for a canvas of that many positions."""
        return self.costs[name].of(*shape) / self.costs[self.home].of(1, columns)


@attrs.frozen
class Sizes:
    """Prices by numbers of weights alone, for machines that were not measured.

    Where passes wait for memory, one costs what it takes to read the weights, whatever it is fed;
    where they wait for arithmetic (`computing`), each fed position costs as much.
    """

    weights: Mapping[str, int]
    home: str
    computing: bool

    def ratio(self, name: str, shape: Shape, columns: int) -> float:
        """Cost of one pass of a network, for a canvas of that many positions."""
        size = self.weights[name] / max(self.weights[self.home], 1)
        return size * shape[0] * shape[1] / columns if self.computing else size


class PassLog:
    """Which passes each row took part in, and the shape that each has for a row alone.

    A pass over B rows of which each stands there several times (states of a draft, guidance) is
    several rows for each of them.
    """

    def __init__(self) -> None:
        self._noted: list[tuple[str, Counts, Tensor]] = []

    def add(self, record: StepRecord) -> None:
        """Take note of what a network has executed by now."""
        self._noted.append((record.network, record.counts, record.live_B))

    def weighted(self, prices: Prices, columns: int) -> list[float]:
        """Weighted passes of each row, as if it had been decoded alone."""
        passes = list(self._passes())
        if not passes:
            return []
        live_BT = torch.stack([live_B for *_, live_B in passes], dim=1).double()
        weights = [prices.ratio(name, shape, columns) for name, shape, _ in passes]
        weights_T = torch.tensor(weights, dtype=torch.float64, device=live_BT.device)
        weighted: list[float] = (live_BT @ weights_T).tolist()
        return weighted

    def _passes(self) -> Iterator[tuple[str, Shape, Tensor]]:
        """The passes between each record of a network and the one before."""
        seen: dict[str, Counts] = {}
        for network, now, live_B in self._noted:
            before = seen.get(network, Counts())
            seen[network] = now
            each = now.since(before)
            if each.rows:
                rows = max(each.rows // (each.forwards * len(live_B)), 1)
                shape = (rows, each.fed_positions // each.rows)
                yield from [(network, shape, live_B)] * each.forwards
