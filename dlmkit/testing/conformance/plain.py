"""The plainest component of each required slot, to put a tested one between.

Legend: B rows, N canvas positions, P window positions, K kept candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from dlmkit.component import Component, options_of
from dlmkit.denoise import Denoise
from dlmkit.need import Need
from dlmkit.roles import Blocks, ConfidenceScorer, TokenSampler, TransferRule
from dlmkit.view import BlockSpan, View

if TYPE_CHECKING:
    from dlmkit.canvas import Canvas
    from dlmkit.prediction import Prediction

__all__ = ["MAX_STEPS", "FoursInOrder", "pipeline_around"]

MAX_STEPS = 40
"""Enough for the toy canvases, so that whatever reopens positions ends."""


@attrs.frozen
class FoursInOrder(Blocks):
    """Blocks of four positions, from left to right."""

    name = "fours-in-order"

    def current(self, canvas: Canvas) -> BlockSpan:
        """The block of the row's first mask, else its last block."""
        columns_N = torch.arange(canvas.tokens_BN.shape[1])
        last_B1 = canvas.length_B[:, None] - 1
        first_B = torch.where(canvas.masked_BN, columns_N, last_B1).amin(dim=1)
        index_B = (first_B - canvas.start_B).clamp_min(0) // 4
        start_B = canvas.start_B + 4 * index_B
        stop_B = torch.minimum(start_B + 4, canvas.length_B)
        return BlockSpan(start_B=start_B, stop_B=stop_B, index_B=index_B, width=4)


@attrs.frozen
class BestToken(TokenSampler):
    """The most probable token that is not the mask."""

    name = "best-token"
    need = Need(top=2)

    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """First or second candidate."""
        ids_BPK = prediction.filtered.pack.top_ids_BPK
        return torch.where(
            ids_BPK[..., 0].eq(view.canvas.mask_id), ids_BPK[..., 1], ids_BPK[..., 0]
        )


@attrs.frozen
class TokenScore(ConfidenceScorer):
    """Probability of the proposal."""

    name = "token-score"
    need = Need(top=2)
    space = "probability"

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """In [0, 1]."""
        return prediction.logp_of(tokens_BP).exp()


@attrs.frozen
class TokenLogScore(ConfidenceScorer):
    """Log-probability of the proposal."""

    name = "token-log-score"
    need = Need(top=2)
    space = "nats"

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """In nats, 0 or below."""
        return prediction.logp_of(tokens_BP)


@attrs.frozen
class BestPosition(TransferRule):
    """The most confident position, ties to the lowest."""

    name = "best-position"

    def steps_per_block(self, width: int) -> int:
        """One step for each mask."""
        return width

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The first position of the largest score."""
        lowest = torch.finfo(confidence_BP.dtype).min
        score_BP = confidence_BP.clamp_min(lowest).masked_fill(~view.eligible_BP, -torch.inf)
        best_B1 = score_BP.argmax(dim=1, keepdim=True)
        places_P = torch.arange(confidence_BP.shape[1], device=confidence_BP.device)
        return (places_P == best_B1) & view.eligible_BP


def pipeline_around(component: Component, *, blocks: Blocks | None) -> Denoise:
    """A pipeline with the component in its slot, and plain components where others must be."""
    slots: dict[str, Any] = {
        "blocks": blocks,
        "sample": BestToken(),
        "confidence": _scorer_for(component),
        "transfer": BestPosition(),
    }
    listed = {each.name for each in options_of(Denoise) if each.default == ()}
    slots[component.role] = (component,) if component.role in listed else component
    return Denoise(max_steps=MAX_STEPS, **slots)


def _scorer_for(component: Component) -> ConfidenceScorer:
    """A scorer whose unit the component understands."""
    if isinstance(component, TransferRule):
        spaces = component.score_spaces()
        if spaces and "probability" not in spaces:
            return TokenLogScore()
    return TokenScore()
