"""Predictions and canvases taken apart and put together.

Legend: B rows, P window positions, K kept candidates, V vocabulary.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.prediction import Prediction, ScorePack

__all__ = ["either", "stacked"]


def either(where_BP: Tensor, one: Prediction, other: Prediction) -> Prediction:
    """The first where `where_BP` holds, the second elsewhere; both of one shape.

    A statistic that only one of them has is left out.
    """
    sampling = original = None
    if one.sampling is not None and other.sampling is not None:
        sampling = either(where_BP, one.sampling, other.sampling)
    if one.original is not None and other.original is not None:
        original = either(where_BP, one.original, other.original)
    return Prediction(
        pack=ScorePack(
            top_ids_BPK=_choice(where_BP, one.pack.top_ids_BPK, other.pack.top_ids_BPK),
            top_logp_BPK=_choice(where_BP, one.pack.top_logp_BPK, other.pack.top_logp_BPK),
            lse_BP=_choice(where_BP, one.pack.lse_BP, other.pack.lse_BP),
            entropy_BP=_maybe(where_BP, one.pack.entropy_BP, other.pack.entropy_BP),
            current_logp_BP=_maybe(where_BP, one.pack.current_logp_BP, other.pack.current_logp_BP),
        ),
        logits_BPV=_maybe(where_BP, one.logits_BPV, other.logits_BPV),
        sampling=sampling,
        original=original,
    )


def _choice(where_BP: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(where_BP if one.ndim == 2 else where_BP[..., None], one, other)


def _maybe(where_BP: Tensor, one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if one is None or other is None else _choice(where_BP, one, other)


def stacked(canvas: Canvas, tokens_BXN: Tensor) -> Canvas:
    """Every row as often as it has states, one after the other, with their tokens."""
    times = tokens_BXN.shape[1]

    def again(x: Tensor) -> Tensor:
        return x.repeat_interleave(times, dim=0)

    return attrs.evolve(
        canvas,
        tokens_BN=tokens_BXN.flatten(0, 1),
        given_BN=again(canvas.given_BN),
        inside_BN=again(canvas.inside_BN),
        length_B=again(canvas.length_B),
        start_B=again(canvas.start_B),
        samples_B=again(canvas.samples_B),
        commit_step_BN=again(canvas.commit_step_BN),
        done_B=again(canvas.done_B),
        initial_masks_B=again(canvas.initial_masks_B),
        masked=None,
        undone=None,
    )
