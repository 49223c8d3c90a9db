"""Stop rules made of stop rules.

Legend: B rows.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.combinators.members import Combined, at_least_two
from dlmkit.component import option
from dlmkit.roles import StopRule

if TYPE_CHECKING:
    from dlmkit.view import View

__all__ = ["IntersectStop", "UnionStop"]


@attrs.frozen
class UnionStop(Combined, StopRule):
    """Stop the rows that any of the rules would stop."""

    name = "union"

    of: tuple[StopRule, ...] = option(doc="the rules", check=at_least_two)

    def stop(self, view: View) -> Tensor:
        """Rows that some rule stops."""
        return reduce(torch.logical_or, (rule.stop(view) for rule in self.of))


@attrs.frozen
class IntersectStop(Combined, StopRule):
    """Stop the rows that all of the rules would stop."""

    name = "intersect"

    of: tuple[StopRule, ...] = option(doc="the rules", check=at_least_two)

    def stop(self, view: View) -> Tensor:
        """Rows that every rule stops."""
        return reduce(torch.logical_and, (rule.stop(view) for rule in self.of))
