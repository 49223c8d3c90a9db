"""What the verifier said last, mixed into what a drafter says now.

Legend: B rows, P window positions, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction, score_pack
from dlmkit.view import View

__all__ = ["reminded"]


def reminded(
    prediction: Prediction, view: View, told: Outcome, weight: float, need: Need
) -> Prediction:
    """The product of both distributions, the earlier one to the power `weight`.

    Where `told` did not predict a mask, the prediction stays.  Both must have their logits.
    """
    now_BPV, earlier_BPV = prediction.logits_BPV, told.prediction.logits_BPV
    assert now_BPV is not None  # noqa: S101 - the drafter asks for both
    assert earlier_BPV is not None  # noqa: S101
    column_BP = view.positions_BP - told.view.positions_BP[:, :1]
    last = told.view.positions_BP.shape[1] - 1
    known_BP = (column_BP >= 0) & (column_BP <= last)
    column_BP = column_BP.clamp(0, last)
    known_BP = known_BP & told.view.open_BP.gather(1, column_BP)
    index_BPV = column_BP[..., None].expand(-1, -1, earlier_BPV.shape[-1])
    logits_BPV = _product(now_BPV, earlier_BPV.gather(1, index_BPV), weight * known_BP[..., None])
    return Prediction(pack=score_pack(logits_BPV, need, view.tokens_BP), logits_BPV=logits_BPV)


def _product(one_BPV: Tensor, other_BPV: Tensor, weight_BP1: Tensor) -> Tensor:
    one_BPV, other_BPV = one_BPV.log_softmax(dim=-1), other_BPV.log_softmax(dim=-1)
    return torch.lerp(one_BPV, other_BPV, weight_BP1.to(one_BPV.dtype).expand_as(one_BPV))
