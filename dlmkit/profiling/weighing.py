"""Weighted forward passes: every pass at its measured cost.

The unit is a pass of the home network, the one whose tokens the canvas holds, over one row of the
whole canvas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.store import find_costs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlmkit.engine import LoadedModel
    from dlmkit.profiling.costs import Shape

__all__ = ["Scales"]


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
        known = {name: table for name, table in found.items() if table is not None}
        return cls(known, home) if len(known) == len(found) else None

    def unit(self, columns: int) -> float:
        """Seconds of a pass of the home network over one row of that many positions."""
        return self.costs[self.home].of(1, columns)

    def ratio(self, name: str, rows: int, fed: int, columns: int) -> float:
        """Cost of one pass of a network in units of a canvas of that many positions."""
        return self.costs[name].of(rows, fed) / self.unit(columns)

    def weigh(self, shapes: Mapping[str, Mapping[Shape, int]], columns: int) -> float:
        """Weighted number of passes, from how many each network ran of each shape."""
        seconds = sum(self.costs[name].total(each) for name, each in shapes.items())
        return seconds / self.unit(columns)
