"""Roles that act on what a step has written: take back, resize, end.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from dlmkit.roles.strategy import Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.prediction import Prediction
    from dlmkit.view import View

__all__ = ["LengthController", "Resize", "Reviser", "Revision", "StopRule"]


@attrs.frozen
class Revision:
    """Committed positions to change: `where_BP` bool and the new `tokens_BP` (mask id: reopen).

    `again_B` bool marks rows whose block gets one more pass even if nothing is masked in it.
    """

    where_BP: Tensor
    tokens_BP: Tensor
    again_B: Tensor | None = None


class Reviser(Strategy):
    """Takes back or replaces tokens that were committed earlier.

    `sees`: `"before"` gets the view of the forward pass, `"after"` the view with this step's
    commits applied.  `rewrites` says that it puts tokens in place of tokens, which only networks
    that were trained for it do well.
    """

    role = "revise"
    rewrites: ClassVar[bool] = False
    sees: ClassVar[Literal["before", "after"]] = "after"

    @abstractmethod
    def revise(self, prediction: Prediction, view: View) -> Revision | None:
        """Return what to change, or None."""


@attrs.frozen
class Resize:
    """Positions to add and to take away.

    `insert_BN` int64 masks are put behind each position; those in `delete_BN` bool vanish.
    """

    insert_BN: Tensor
    delete_BN: Tensor


class LengthController(Strategy):
    """Changes how many positions a row has.

    Masks are inserted behind the last token of the prompt or later.  Given text is never taken
    away, nor the last position that a row has left.  A row must stay within the model's context.
    `only_cuts` promises that rows only lose their end, so that what is left keeps its place.
    """

    role = "length"
    only_cuts: ClassVar[bool] = False

    def waits(self, prediction: Prediction, view: View) -> Tensor | None:
        """Return the rows that decide nothing in this step, `rows_B` bool; None: there are none.

        Each of them must change its length in this step.
        """
        return None

    @abstractmethod
    def resize(self, prediction: Prediction, view: View) -> Resize | None:
        """Return what to change, or None; the view has this step's commits applied."""


class StopRule(Strategy):
    """Ends rows that need no more steps."""

    role = "stop"

    @abstractmethod
    def stop(self, view: View) -> Tensor:
        """Return `rows_B` bool; masks that are left there stay."""
