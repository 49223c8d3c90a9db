"""Logits transforms that make some tokens less likely without forbidding them.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from math import log
from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most, below
from dlmkit.component import option
from dlmkit.host.constants import constant
from dlmkit.roles import LogitsTransform
from dlmkit.view import View

__all__ = ["EndPenalty", "MinPFilter", "RepetitionPenalty"]


@attrs.frozen
class EndPenalty(LogitsTransform):
    """Lower the logits of end tokens at first, less with every step.

    With t falling from 1 to eps over the steps, strength x log(1 - t + eps) is added, which is
    -6.9 strength in the first step and next to nothing in the last.
    Source: `eos_penalty` in Saber's code for Dream (arXiv:2510.18165).
    """

    name = "end-penalty"

    strength: float = option(1.0, doc="factor of the penalty; 0 changes nothing", check=at_least(0))
    steps: int = option(512, doc="steps until it is spent", check=at_least(1))
    eps: float = option(1e-3, doc="last time of the grid", check=(above(0), below(1)))
    tokens: Literal["eos", "eot", "both"] = option("eos", doc="which end tokens are penalised")

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Add the penalty of this step."""
        eos = view.info.eos_ids if self.tokens in ("eos", "both") else ()
        eot = view.info.eot_ids if self.tokens in ("eot", "both") else ()
        ends = constant((*eos, *eot), logits_BPV.device, torch.int64)
        ids_V = torch.arange(logits_BPV.shape[-1], device=logits_BPV.device)
        return logits_BPV + self._now(view, logits_BPV.dtype) * torch.isin(ids_V, ends)

    def _now(self, view: View, dtype: torch.dtype) -> float | Tensor:
        """What is added in this step, or to each row, `penalty_B11`."""
        if view.taken_B is None:
            time = 1 - (1 - self.eps) * min(view.step / self.steps, 1.0)
            return self.strength * log(1 - time + self.eps)
        time_B = 1 - (1 - self.eps) * (view.taken_B.double() / self.steps).clamp_max(1.0)
        return (self.strength * (1 - time_B + self.eps).log()).to(dtype)[:, None, None]


@attrs.frozen
class RepetitionPenalty(LogitsTransform):
    """Make tokens less likely that already stand in the row.

    Positive logits are divided by the penalty, negative ones multiplied; each token counts once.
    Source: CTRL (arXiv:1909.05858), theta.
    """

    name = "repetition-penalty"

    penalty: float = option(1.2, doc="divisor; 1 changes nothing", check=at_least(1))
    prompt: bool = option(True, doc="count the tokens of the prompt too")

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Weaken the tokens that were used."""
        canvas = view.canvas
        counted_BN = canvas.inside_BN & ~canvas.masked_BN
        if not self.prompt:
            counted_BN = counted_BN & ~canvas.given_BN
        used_BV = logits_BPV.new_zeros(logits_BPV.shape[0], logits_BPV.shape[-1])
        used_BV = used_BV.scatter_reduce(1, canvas.tokens_BN, counted_BN.to(used_BV.dtype), "amax")
        weaker_BPV = torch.where(
            logits_BPV > 0, logits_BPV / self.penalty, logits_BPV * self.penalty
        )
        return torch.where(used_BV[:, None, :] > 0, weaker_BPV, logits_BPV)


@attrs.frozen
class MinPFilter(LogitsTransform):
    """Keep the tokens whose probability is at least a share of the best one's.

    Source: arXiv:2407.01082.
    """

    name = "min-p"
    stage = "sampling"

    p: float = option(0.05, doc="share of the largest probability", check=(above(0), at_most(1)))

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Set the dropped logits to minus infinity."""
        floor_BP1 = logits_BPV.amax(dim=-1, keepdim=True) + log(self.p)
        return logits_BPV.masked_fill(logits_BPV < floor_BP1, -torch.inf)
