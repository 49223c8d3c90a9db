"""What fused attention does not tell, collected layer by layer beside it.

Legend: B rows, Q fed positions, C cached positions, K = C + Q keys, H query heads, G key/value
heads, R = H / G, E head dimension, Y layers.
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
    Statistics are float32 at least; a row without watched queries gets zeros.  `groups` heads are
    weighed at once, all of them if it is None.
    """

    def __init__(self, *, weights: bool, watch_BQ: Tensor | None, groups: int | None = 1) -> None:
        self.weights = weights
        self.watch_BQ = watch_BQ
        self.groups = groups
        self._attention: list[Tensor] = []
        self._relevance: list[Tensor] = []

    def note(
        self, q_BHQE: Tensor, fresh_BGQE: Tensor, keys_BGKE: Tensor, mask_B1QK: Tensor | None
    ) -> None:
        """Take note of one layer: rotated queries, the fed keys, and all keys."""
        if self.weights:
            seen_BQK = mean_weights(q_BHQE, keys_BGKE, mask_B1QK, self.groups)
            self._attention.append(seen_BQK)
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


def mean_weights(
    q_BHQE: Tensor, keys_BGKE: Tensor, mask_B1QK: Tensor | None, groups: int | None = 1
) -> Tensor:
    """Attention weights, mean over the heads, `[B, Q, K]`; float32 at least.

    So many `groups` of heads at a time (None: all), each R = H / G heads that share keys: the
    widest tensor is `[B, groups, R, Q, K]`.
    """
    step, total = groups or keys_BGKE.shape[1], keys_BGKE.shape[1]
    q_BGRQE = _by_group(q_BHQE, total)
    sums = []
    for first in range(0, total, step):
        some_BgRQE = widen(q_BGRQE[:, first : first + step])
        keys_Bg1EK = widen(keys_BGKE[:, first : first + step, None]).transpose(3, 4)
        scores_BgRQK = some_BgRQE @ keys_Bg1EK * q_BHQE.shape[-1] ** -0.5
        if mask_B1QK is not None:
            scores_BgRQK = scores_BgRQK.masked_fill(~mask_B1QK[:, None], -torch.inf)
        sums.append(scores_BgRQK.softmax(dim=-1).sum(dim=(1, 2)))
    total_BQK: Tensor = torch.stack(sums).sum(dim=0)
    return total_BQK / q_BHQE.shape[1]


def _relevance(q_BHQE: Tensor, fresh_BGQE: Tensor, watch_BQ: Tensor) -> Tensor:
    """The mean over heads of products with keys that heads share needs their queries' sum only."""
    heads, groups = q_BHQE.shape[1], fresh_BGQE.shape[1]
    share_BQ = watch_BQ / watch_BQ.sum(dim=1, keepdim=True).clamp_min(1)
    wide_BHQE = widen(q_BHQE)
    mean_BHE = (wide_BHQE * share_BQ[:, None, :, None].to(wide_BHQE.dtype)).sum(dim=2)
    sum_BGE = _by_group(mean_BHE, groups).sum(dim=2)
    product_BQ: Tensor = (widen(fresh_BGQE) @ sum_BGE[..., None])[..., 0].sum(dim=1)
    return product_BQ / heads


def _by_group(values_BH: Tensor, groups: int) -> Tensor:
    """Heads that share keys in a dimension of their own, `[B, G, R, ...]`."""
    grouped: Tensor = values_BH.unflatten(1, (groups, -1))  # type: ignore[no-untyped-call]
    return grouped
