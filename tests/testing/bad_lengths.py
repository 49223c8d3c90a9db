"""Length controllers that break exactly one kind of promise each."""

from __future__ import annotations

import attrs
import torch

from dlmkit.roles import LengthController, Resize
from tests.testing.bad_components import breaks
from tests.testing.bad_procedures import BAD

__all__ = ["BAD"]


def nothing(view):
    """A change of length that changes nothing."""
    return Resize(
        insert_BN=torch.zeros_like(view.tokens_BN),
        delete_BN=torch.zeros_like(view.tokens_BN, dtype=torch.bool),
    )


@breaks("edits what it may")
@attrs.frozen
class Eraser(LengthController):
    """Takes given text away.  Source: dlmkit."""

    name = "eraser"

    def resize(self, prediction, view):
        return attrs.evolve(nothing(view), delete_BN=view.canvas.given_BN)


@breaks("stays within the context")
@attrs.frozen
class Sprawler(LengthController):
    """Grows by one position, whether there is room or not.  Source: dlmkit."""

    name = "sprawler"

    def resize(self, prediction, view):
        last_BN = view.canvas.columns_N == view.canvas.length_B[:, None] - 1
        return attrs.evolve(nothing(view), insert_BN=last_BN.long())


@breaks("changes the rows that wait")
@attrs.frozen
class Dawdler(LengthController):
    """Waits without an end.  Source: dlmkit."""

    name = "dawdler"

    def waits(self, prediction, view):
        return torch.ones_like(view.live_B)

    def resize(self, prediction, view):
        return None


@breaks("only cuts if it says so")
@attrs.frozen
class Stretcher(Sprawler):
    """Says that it only cuts, and grows.  Source: dlmkit."""

    name = "stretcher"
    only_cuts = True
