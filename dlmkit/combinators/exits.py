"""Early exits made of early exits.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.combinators.members import Combined, at_least_two
from dlmkit.component import option
from dlmkit.roles import EarlyExit, Exit

if TYPE_CHECKING:
    from dlmkit.prediction import Prediction
    from dlmkit.view import View

__all__ = ["IntersectExit", "UnionExit"]

_SCOPE = "what a row leaves, whatever its members say: the block, or the whole canvas"


@attrs.frozen
class _Exits(Combined, EarlyExit):
    """Several rules, and how far their common verdict reaches."""

    of: tuple[EarlyExit, ...] = option(doc="the rules", check=at_least_two)
    scope: Literal["block", "canvas"] = option("block", doc=_SCOPE)

    def _said(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> list[Tensor]:
        """The rows that each rule exits, of those that say anything."""
        verdicts = (rule.decide(prediction, confidence_BP, view) for rule in self.of)
        return [verdict.rows_B for verdict in verdicts if verdict is not None]


@attrs.frozen
class UnionExit(_Exits):
    """Exit the rows in which any of the rules would exit."""

    name = "union"

    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit | None:
        """Rows that some rule exits."""
        said = self._said(prediction, confidence_BP, view)
        return Exit(reduce(torch.logical_or, said), self.scope) if said else None


@attrs.frozen
class IntersectExit(_Exits):
    """Exit the rows in which all of the rules would exit."""

    name = "intersect"

    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit | None:
        """Rows that every rule exits."""
        said = self._said(prediction, confidence_BP, view)
        unanimous = len(said) == len(self.of)
        return Exit(reduce(torch.logical_and, said), self.scope) if unanimous else None
