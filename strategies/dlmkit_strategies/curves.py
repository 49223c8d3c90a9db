"""Schedules of published methods beside the core's.

Legend: B rows.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above
from dlmkit.component import option
from dlmkit.schedules import Schedule

__all__ = ["Decay"]


@attrs.frozen
class Decay(Schedule):
    """Exponential decay towards a value that is never reached: stop + (start - stop) e^(-rate t).

    Source: SchED (arXiv:2512.02892), rate k.
    """

    name = "decay"

    start: float = option(doc="value at the beginning", key="from")
    stop: float = option(doc="value that is approached", key="to")
    rate: float = option(4.0, doc="decay rate over the whole decode", check=above(0))
    over: Literal["filled", "steps"] = option(
        "filled", doc="what moves it: `filled`, the share decided; `steps`, the share of the steps"
    )

    def at(self, elapsed_B: Tensor) -> Tensor:
        """The decayed value."""
        return self.stop + (self.start - self.stop) * torch.exp(-self.rate * elapsed_B)

    def checked_values(self) -> tuple[Any, ...]:
        """Both ends; all else lies between them."""
        return (self.start, self.stop)
