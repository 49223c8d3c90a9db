"""What fused attention does not tell, collected layer by layer beside it.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, H query heads, G key/value
heads, E head dimension, Y layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.models.layers import widen

__all__ = ["AttentionTap", "mean_weights"]


class AttentionTap:
    """Notes one pass of a decoder: attention weights, or how relevant keys are to some queries.

    With `weights` it keeps the mean of the weights over the heads; with `watch_BQ` (bool) the
    product of each fed key with the mean of the watched queries, unscaled, mean over the heads.
    Statistics are float32 at least; a row without watched queries gets zeros.
    """

    def __init__(self, *, weights: bool, watch_BQ: Tensor | None) -> None:
        self.weights = weights
        self.watch_BQ = watch_BQ
        self._attention: list[Tensor] = []
        self._relevance: list[Tensor] = []

    def note(
        self, q_BHQE: Tensor, fresh_BGQE: Tensor, keys_BGKE: Tensor, mask_B1QK: Tensor | None
    ) -> None:
        """Take note of one layer: rotated queries, the fed keys, and all keys."""
        if self.weights:
            self._attention.append(mean_weights(q_BHQE, keys_BGKE, mask_B1QK))
        if self.watch_BQ is not None:
            self._relevance.append(_relevance(q_BHQE, fresh_BGQE, self.watch_BQ))

    @property
    def attention_YBQK(self) -> Tensor | None:
        """Attention weights, mean over heads; None if they were not asked for."""
        return torch.stack(self._attention) if self._attention else None

    @property
    def relevance_YBQ(self) -> Tensor | None:
        """Relevance of each fed key; None if it was not asked for."""
        return torch.stack(self._relevance) if self._relevance else None


def mean_weights(q_BHQE: Tensor, keys_BGKE: Tensor, mask_B1QK: Tensor | None) -> Tensor:
    """Attention weights, mean over the heads, `[B, Q, K]`; float32 at least.

    One group of heads at a time, so that the widest tensor is `[B, H / G, Q, K]`.
    """
    size = q_BHQE.shape[1] // keys_BGKE.shape[1]
    sums = []
    for group in range(keys_BGKE.shape[1]):
        q_BhQE = widen(q_BHQE[:, group * size : (group + 1) * size])
        keys_B1EK = widen(keys_BGKE[:, group, None]).transpose(2, 3)
        scores_BhQK = q_BhQE @ keys_B1EK * q_BHQE.shape[-1] ** -0.5
        if mask_B1QK is not None:
            scores_BhQK = scores_BhQK.masked_fill(~mask_B1QK, -torch.inf)
        sums.append(scores_BhQK.softmax(dim=-1).sum(dim=1))
    total_BQK: Tensor = torch.stack(sums).sum(dim=0)
    return total_BQK / q_BHQE.shape[1]


def _relevance(q_BHQE: Tensor, fresh_BGQE: Tensor, watch_BQ: Tensor) -> Tensor:
    """The mean over heads of products with keys that heads share needs their queries' sum only."""
    heads, groups = q_BHQE.shape[1], fresh_BGQE.shape[1]
    share_BQ = watch_BQ / watch_BQ.sum(dim=1, keepdim=True).clamp_min(1)
    wide_BHQE = widen(q_BHQE)
    mean_BHE = (wide_BHQE * share_BQ[:, None, :, None].to(wide_BHQE.dtype)).sum(dim=2)
    sum_BGE = mean_BHE.view(len(mean_BHE), groups, heads // groups, -1).sum(dim=2)
    product_BQ: Tensor = (widen(fresh_BGQE) @ sum_BGE[..., None])[..., 0].sum(dim=1)
    return product_BQ / heads
