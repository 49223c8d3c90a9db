"""How far what a layer attends to has turned since the pass before.

Legend: B rows, N canvas positions, M = N + 1 slots, Q fed positions, W watched ones, H query heads,
G key/value heads, E head dimension, Y layers.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.models.attention_tap import mean_weights
from dlmkit.passes.layer_steps import Drift, Features

__all__ = ["Watch"]


@attrs.frozen(eq=False)
class Watch:
    """The queries that a pass watches, at most `width` in a row."""

    drift: Drift
    width: int

    def turned_B(
        self,
        q_BHQE: Tensor,
        keys_BGNE: Tensor,
        mask_B1QN: Tensor | None,
        place_BQ: Tensor,
        features: Features,
        index: int,
    ) -> Tensor:
        """Rows in which one layer's attention has turned, bool; note it for the next pass.

        `place_BQ` are the queries' positions in ascending order, then filler beyond the canvas.
        """
        place_BW, weights_BWN = self._weights(q_BHQE, keys_BGNE, mask_B1QN, place_BQ)
        most_B, given_BM = features.most_YB[index], features.given_YBM[index]
        before_BW, now_BW = given_BM.gather(1, place_BW), _to(weights_BWN, most_B)
        both_BW = before_BW >= 0
        alike_B = F.cosine_similarity(now_BW * both_BW, before_BW * both_BW, dim=1)
        self._note(weights_BWN, place_BW, most_B, given_BM)
        return (alike_B < self.drift.bound) & self.drift.watch_BN.any(dim=1)

    def _weights(
        self, q_BHQE: Tensor, keys_BGNE: Tensor, mask_B1QN: Tensor | None, place_BQ: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where the watched queries are, and what they attend to."""
        order_BN = self.drift.watch_BN.int().argsort(dim=1, descending=True, stable=True)
        filler = order_BN.shape[1]
        place_BN = torch.where(self.drift.watch_BN.gather(1, order_BN), order_BN, filler)
        place_BW = place_BN[:, : self.width].contiguous()
        found_BW = torch.searchsorted(place_BQ.contiguous(), place_BW)
        found_BW = found_BW.clamp_max(place_BQ.shape[1] - 1)
        q_BHWE = q_BHQE.gather(
            2, found_BW[:, None, :, None].expand(*q_BHQE.shape[:2], -1, q_BHQE.shape[3])
        )
        mask = mask_B1QN
        if mask is not None:
            mask = mask.gather(2, found_BW[:, None, :, None].expand(-1, -1, -1, mask.shape[3]))
        return place_BW, mean_weights(q_BHWE, keys_BGNE, mask)

    def _note(
        self, weights_BWN: Tensor, place_BW: Tensor, most_B: Tensor, given_BM: Tensor
    ) -> None:
        """Write down what is attended to most now, the first of several, and by how much."""
        real_BW1 = (place_BW < weights_BWN.shape[2])[..., None]
        mass_BN = (weights_BWN * real_BW1).sum(dim=1)
        most_B.copy_(mass_BN.masked_fill(~self.drift.among_BN, -1).argmax(dim=1))
        given_BM.fill_(-1).scatter_(1, place_BW, _to(weights_BWN, most_B))
        given_BM[:, -1] = -1


def _to(weights_BWN: Tensor, target_B: Tensor) -> Tensor:
    """How much each query attends to one position of its row, `given_BW`."""
    index_BW1 = target_B[:, None, None].expand(-1, weights_BWN.shape[1], 1)
    return weights_BWN.gather(2, index_BW1)[..., 0]
