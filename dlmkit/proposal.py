"""What a step's forward pass proposes, before anything is decided.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
from torch import Tensor

from dlmkit.prediction import Prediction

__all__ = ["Proposal"]


@attrs.frozen(kw_only=True, eq=False)
class Proposal:
    """The prediction of a pass, the proposed `tokens_BP` int64, and their `confidence_BP`.

    Confidence is minus infinity where a position is not eligible.
    """

    prediction: Prediction
    tokens_BP: Tensor
    confidence_BP: Tensor
