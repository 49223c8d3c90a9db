"""Guides: predictions combined from several inputs.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.roles import Guide
from dlmkit.view import View

__all__ = ["ClassifierFree"]


@attrs.frozen
class ClassifierFree(Guide):
    """Move the prediction away from what the network says without the prompt.

    The second input has all given tokens masked; both run as one pass of twice the rows.  With
    l_c and l_u the two predictions, the result is l_u + (scale + 1)(l_c - l_u).
    Source: LLaDA (arXiv:2502.09992), `cfg_scale`; arXiv:2207.12598.
    """

    name = "cfg"

    scale: float = option(0.5, doc="strength; 0 changes nothing", check=at_least(0))

    def variants(self, ids_BN: Tensor, view: View) -> Sequence[Tensor]:
        """The canvas, and the canvas with its given tokens masked."""
        return ids_BN, torch.where(view.canvas.given_BN, view.canvas.mask_id, ids_BN)

    def combine(self, logits: Sequence[Tensor], view: View) -> Tensor:
        """Extrapolate from the unconditional to the conditional logits."""
        given_BPV, free_BPV = logits
        return free_BPV + (self.scale + 1) * (given_BPV - free_BPV)
