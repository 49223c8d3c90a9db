"""Conditions: in which rows, and when, a `when` applies; and what every `when` has.

Legend: B rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from dlmkit.combinators.members import Combined
from dlmkit.component import option

if TYPE_CHECKING:
    from dlmkit.view import View

__all__ = ["OTHERWISE", "THEN", "Condition", "Conditional"]

THEN = "what applies where the condition holds"
OTHERWISE = "what applies everywhere else"


def _interval(pair: Any) -> str | None:
    low, high = pair
    return None if high is None or low < high else "must be [low, high] with low below high"


@attrs.frozen(kw_only=True)
class Condition:
    """Half-open intervals `[low, high)` that must all hold; a high of null has no end."""

    progress: tuple[float, float | None] | None = option(
        None, doc="share of the row's masks that are decided, 0 to 1", check=_interval
    )
    block: tuple[int, int | None] | None = option(
        None, doc="number of the row's block, from 0", check=_interval
    )
    step: tuple[int, int | None] | None = option(
        None, doc="steps of the decode so far", check=_interval
    )
    row: tuple[int, int | None] | None = option(
        None, doc="number of the sample, from 0; the same in any batch", check=_interval
    )

    def __attrs_post_init__(self) -> None:
        if (self.progress, self.block, self.step, self.row) == (None, None, None, None):
            raise ValueError("a condition needs one of progress, block, step, row")

    def holds_B(self, view: View) -> Tensor:
        """Return where the condition holds now, `rows_B` bool."""
        samples_B = view.samples_B
        holds_B = torch.ones_like(samples_B, dtype=torch.bool)
        if self.progress is not None:
            holds_B &= _within(view.progress_B, self.progress)
        if self.block is not None:
            holds_B &= _within(view.block.index_B, self.block)
        if self.step is not None:
            holds_B &= _within(torch.zeros_like(samples_B) + view.taken, self.step)
        if self.row is not None:
            holds_B &= _within(samples_B, self.row)
        return holds_B


@attrs.frozen(kw_only=True)
class Conditional(Combined):
    """Base of every `when`, beside its role."""

    name = "when"

    condition: Condition = option(
        doc="where this applies: intervals of progress, block, step or row"
    )

    def choose(self, then: Tensor, otherwise: Tensor, view: View) -> Tensor:
        """The first tensor's rows where the condition holds, the second's elsewhere, `[B, ...]`."""
        holds_B = self.condition.holds_B(view)
        return torch.where(holds_B.reshape(-1, *[1] * (then.ndim - 1)), then, otherwise)


def _within(value_B: Tensor, interval: tuple[float, float | None]) -> Tensor:
    low, high = interval
    above_B = value_B >= low
    return above_B if high is None else above_B & (value_B < high)
