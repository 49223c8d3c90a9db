"""Exit once the undecided part of a row is certain.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import EarlyExit, Exit
from dlmkit.schedules import Schedule, value_at
from dlmkit.view import View

__all__ = ["Certain"]


@attrs.frozen
class Certain(EarlyExit):
    """Exit a row once the mean entropy of its undecided positions is below a limit.

    Source: the confident half of DiffusionGemma's stability-and-confidence stop; `intersect` it
    with `settled`, the stable half.  There every position of the canvas counts, since none is ever
    decided.
    """

    name = "certain"
    need = Need(entropy=True)
    span = "region"

    limit: float | Schedule = option(
        0.005, doc="mean entropy below which it exits, in nats", check=above(0)
    )
    of: Literal["raw", "filtered"] = option(
        "raw", doc="which distribution: before or after temperature, top-p and top-k"
    )
    scope: Literal["block", "canvas"] = option(
        "canvas", doc="what is looked at and filled: the block, or all that is left of the row"
    )

    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit:
        """Rows whose mean entropy is low enough."""
        entropy_BP = (prediction.filtered if self.of == "filtered" else prediction).pack.entropy_BP
        assert entropy_BP is not None  # noqa: S101 - declared in `need`
        where_BP = view.eligible_BP if self.scope == "block" else view.open_BP
        total_B = torch.where(where_BP, entropy_BP, 0.0).sum(dim=1)
        mean_B1 = (total_B / where_BP.sum(dim=1).clamp_min(1))[:, None]
        return Exit((mean_B1 < value_at(self.limit, view)).all(dim=1), self.scope)
