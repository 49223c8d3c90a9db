"""Confidence scorers that fix the order of decoding in advance, whatever the network says.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from abc import abstractmethod

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import not_empty
from dlmkit.component import option
from dlmkit.host.constants import constant
from dlmkit.prediction import Prediction
from dlmkit.roles import ConfidenceScorer
from dlmkit.view import View

__all__ = ["DrawnOrder", "GivenOrder"]


@attrs.frozen
class PositionOrder(ConfidenceScorer):
    """An order of positions that is known before the first pass."""

    @abstractmethod
    def priority(self, positions_BP: Tensor, view: View) -> Tensor:
        """Return `priority_BP` float64 of canvas positions; the largest is decided first."""

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """The priority of each position."""
        return self.priority(view.positions_BP, view)


@attrs.frozen
class DrawnOrder(PositionOrder):
    """A random order that is drawn once and kept for the whole decode.

    Source: dKV-Cache (arXiv:2505.15781), dKV-Cache-Greedy.
    """

    name = "drawn-order"
    space = "rank"
    stochastic = True

    def priority(self, positions_BP: Tensor, view: View) -> Tensor:
        """One number in (0, 1) for each position, keyed by seed, sample and position."""
        return attrs.evolve(view.noise, step=0).uniform_BP(self.name, positions_BP)


@attrs.frozen
class GivenOrder(PositionOrder):
    """An order of your own, counted from each row's first undecided position.

    Positions that are not named come last, from left to right.  Source: dlmkit.
    """

    name = "given-order"
    space = "rank"

    offsets: tuple[int, ...] = option(
        doc="offsets in the order in which they are decided",
        check=not_empty,
        examples=((0, 2, 1, 3),),
    )

    def priority(self, positions_BP: Tensor, view: View) -> Tensor:
        """Minus the place in the order."""
        offset_BP = positions_BP - view.canvas.start_B[:, None]
        places = torch.arange(len(self.offsets), device=positions_BP.device)
        order = constant(self.offsets, positions_BP.device)
        found_BPK = offset_BP[..., None] == order
        named_BP = torch.where(found_BPK, places, len(self.offsets)).amin(dim=-1)
        missing_BP = named_BP == len(self.offsets)
        return -torch.where(missing_BP, len(self.offsets) + offset_BP, named_BP).double()
