"""The key/value store of one session, on the device, written once for all engines.

Legend: B rows, N slots (one for each canvas position), Q fed positions, Y layers, G key/value
heads, E head dimension.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.network import KeyValues, NetworkInfo

__all__ = ["Store"]

EMPTY = -1


@attrs.define(eq=False)
class Store:
    """Keys and values with the token each was computed from.

    `tag_BN` int64 is the token id at compute time, -1 where the slot is empty; comparing it with
    the canvas tells which reads are stale.
    """

    content: KeyValues
    tag_BN: Tensor

    @classmethod
    def allocate(cls, info: NetworkInfo, rows: int, slots: int) -> Store:
        """Zero-filled room for `rows` x `slots` positions in the network's dtype."""
        shape = (info.layers, rows, info.kv_heads, slots, info.head_dim)
        keys, values = (torch.zeros(shape, dtype=info.dtype, device=info.device) for _ in range(2))
        tag_BN = torch.full((rows, slots), EMPTY, dtype=torch.int64, device=info.device)
        return cls(content=KeyValues(keys_YBGCE=keys, values_YBGCE=values), tag_BN=tag_BN)

    @property
    def filled_BN(self) -> Tensor:
        """Slots that hold something."""
        return self.tag_BN != EMPTY

    def stale_BN(self, tokens_BN: Tensor) -> Tensor:
        """Filled slots whose token has changed since they were computed."""
        return self.filled_BN & (self.tag_BN != tokens_BN)

    def commit(self, fresh: KeyValues, feed_BQ: Tensor, keep_BQ: Tensor, ids_BQ: Tensor) -> None:
        """Store the fresh keys and values of the kept positions; the rest is forgotten."""
        slots = self.tag_BN.shape[1]
        source_BN, written_BN = _sources(feed_BQ, keep_BQ, slots)
        for target, new in (
            (self.content.keys_YBGCE, fresh.keys_YBGCE),
            (self.content.values_YBGCE, fresh.values_YBGCE),
        ):
            index = source_BN[None, :, None, :, None].expand_as(target)
            keep = written_BN[None, :, None, :, None]
            target.copy_(torch.where(keep, new.gather(3, index), target))
        self.tag_BN = torch.where(written_BN, ids_BQ.gather(1, source_BN), self.tag_BN)

    def truncate(self, length_B: Tensor) -> None:
        """Forget every slot at or beyond each row's length."""
        slots_N = torch.arange(self.tag_BN.shape[1], device=self.tag_BN.device)
        self.invalidate(slots_N >= length_B[:, None])

    def invalidate(self, where_BN: Tensor) -> None:
        """Forget the chosen slots."""
        self.tag_BN = self.tag_BN.masked_fill(where_BN, EMPTY)

    def snapshot(self) -> Store:
        """Copy the store, to roll back to later."""
        copied = KeyValues(
            keys_YBGCE=self.content.keys_YBGCE.clone(),
            values_YBGCE=self.content.values_YBGCE.clone(),
        )
        return Store(content=copied, tag_BN=self.tag_BN.clone())

    def rollback(self, saved: Store) -> None:
        """Return to a snapshot, which stays usable."""
        self.content.keys_YBGCE.copy_(saved.content.keys_YBGCE)
        self.content.values_YBGCE.copy_(saved.content.values_YBGCE)
        self.tag_BN = saved.tag_BN.clone()


def _sources(feed_BQ: Tensor, keep_BQ: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """For each slot, the index of the fed position that fills it, and whether one does."""
    rows, fed = feed_BQ.shape
    target_BQ = torch.where(keep_BQ, feed_BQ, slots)
    order_BQ = torch.arange(fed, device=feed_BQ.device).expand(rows, fed)
    source_BM = torch.zeros(rows, slots + 1, dtype=torch.int64, device=feed_BQ.device)
    written_BM = torch.zeros(rows, slots + 1, dtype=torch.bool, device=feed_BQ.device)
    source_BM = source_BM.scatter(1, target_BQ, order_BQ)
    written_BM = written_BM.scatter(1, target_BQ, keep_BQ)
    return source_BM[:, :slots], written_BM[:, :slots]
