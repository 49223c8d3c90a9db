"""Token samplers: which token is proposed for each position.  No sampler proposes the mask.

Legend: B rows, P window positions, K kept candidates, V vocabulary.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import TokenSampler
from dlmkit.view import View
from dlmkit_strategies.kernels import first_allowed

__all__ = ["Categorical", "Greedy"]


@attrs.frozen
class Greedy(TokenSampler):
    """The most probable token; ties go to the lowest id.

    Source: LLaDA (arXiv:2502.09992) and Dream (arXiv:2508.15487) at temperature 0.
    """

    name = "greedy"
    need = Need(top=2)

    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """Return the best candidate that is not the mask."""
        return first_allowed(prediction.filtered.pack.top_ids_BPK, view.info.mask_id)


@attrs.frozen
class Categorical(TokenSampler):
    """A draw from softmax(logits / temperature), by the Gumbel-max rule in float64.

    Adding noise scaled by the temperature leaves the logits, and so the confidence, untouched.
    Source: LLaDA (arXiv:2502.09992); why float64: arXiv:2409.02908.
    """

    name = "categorical"
    need = Need(logits=True)
    stochastic = True

    temperature: float = option(
        1.0, doc="scale of the noise; 0 is greedy", check=at_least(0), examples=(0.2, 0.7)
    )

    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """Return the token with the largest perturbed logit that is not the mask."""
        wide_BPV = _wide(prediction)
        if self.temperature > 0:
            noise_BPV = view.gumbel_BPV(self.name, wide_BPV.shape[-1])
            wide_BPV = wide_BPV + self.temperature * noise_BPV
        return _without_mask(wide_BPV, view.info.mask_id).argmax(dim=-1)

    def law(self, prediction: Prediction, view: View) -> Tensor | None:
        """The softmax that is drawn from; none at temperature 0."""
        if self.temperature == 0:
            return None
        scaled_BPV = _wide(prediction) / self.temperature
        return _without_mask(scaled_BPV, view.info.mask_id).log_softmax(dim=-1)

    def noise(self, prediction: Prediction, view: View) -> Tensor | None:
        """What a draw adds to the law; nothing at temperature 0."""
        if self.temperature == 0:
            return None
        return view.gumbel_BPV(self.name, _wide(prediction).shape[-1])


def _wide(prediction: Prediction) -> Tensor:
    logits_BPV = prediction.filtered.logits_BPV
    assert logits_BPV is not None  # noqa: S101 - declared in `need`
    return logits_BPV.double()


def _without_mask(logits_BPV: Tensor, mask_id: int | None) -> Tensor:
    if mask_id is None:
        return logits_BPV
    ids_V = torch.arange(logits_BPV.shape[-1], device=logits_BPV.device)
    return logits_BPV.masked_fill(ids_V == mask_id, -torch.inf)
