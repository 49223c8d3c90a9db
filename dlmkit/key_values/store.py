"""The key/value store of one session, on the device, written once for all engines.

Legend: B rows, N slots (one for each canvas position), Q fed positions, Y layers, G key/value
heads, E head dimension.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.layout import Layout
from dlmkit.network import KeyValues, NetworkInfo

__all__ = ["Store"]

EMPTY = -1


@attrs.define(eq=False)
class Store:
    """Keys and values with the token each was computed from.

    `tag_BN` int64 is the token id at compute time, -1 where the slot is empty; comparing it with
    the canvas tells which reads are stale.  `room` has one slot more than `tag_BN`: what a pass
    computes and nobody keeps is written there, so that a commit touches the fed positions only.
    `changes` counts what the store itself did to `room`; `begun` whether anything was kept.

    With a `capacity` the room is that of a network which writes into it (see
    `dlmkit.key_values.in_place`): as many slots, of which the last are unused, and none to spare.
    """

    room: KeyValues
    tag_BN: Tensor
    changes: int = 0
    begun: bool = False
    capacity: int | None = None
    _content: tuple[KeyValues, KeyValues] | None = attrs.field(default=None, repr=False)

    @classmethod
    def allocate(cls, info: NetworkInfo, rows: int, slots: int) -> Store:
        """Zero-filled room for `rows` x `slots` positions in the network's dtype."""
        capacity = info.cache_slots
        shape = (info.layers, rows, info.kv_heads, _room(slots, capacity), info.head_dim)
        keys, values = (torch.zeros(shape, dtype=info.dtype, device=info.device) for _ in range(2))
        tag_BN = torch.full((rows, slots), EMPTY, dtype=torch.int64, device=info.device)
        room = KeyValues(keys_YBGCE=keys, values_YBGCE=values)
        return cls(room=room, tag_BN=tag_BN, capacity=capacity)

    @property
    def content(self) -> KeyValues:
        """Keys and values of all slots, as a network reads them."""
        if self._content is None or self._content[0] is not self.room:
            self._content = (self.room, self.room if self.capacity is not None else self._slots())
        return self._content[1]

    def _slots(self) -> KeyValues:
        """The room without what is to spare."""
        return KeyValues(
            keys_YBGCE=self.room.keys_YBGCE[:, :, :, :-1],
            values_YBGCE=self.room.values_YBGCE[:, :, :, :-1],
            room=self.room,
        )

    def picked(self, slots_YBC: Tensor) -> KeyValues:
        """Keys and values of other slots in each layer, in the order given."""
        layers, rows, _ = slots_YBC.shape
        layer_Y11 = torch.arange(layers, device=slots_YBC.device)[:, None, None]
        row_B1 = torch.arange(rows, device=slots_YBC.device)[:, None]
        keys, values = (
            room.transpose(2, 3)[layer_Y11, row_B1, slots_YBC].transpose(2, 3)
            for room in (self.room.keys_YBGCE, self.room.values_YBGCE)
        )
        return KeyValues(keys_YBGCE=keys, values_YBGCE=values)

    @property
    def filled_BN(self) -> Tensor:
        """Slots that hold something."""
        return self.tag_BN != EMPTY

    def stale_BN(self, tokens_BN: Tensor) -> Tensor:
        """Filled slots whose token has changed since they were computed."""
        return self.filled_BN & (self.tag_BN != tokens_BN)

    def written(self, target_BQ: Tensor, keep_BQ: Tensor, ids_BQ: Tensor) -> None:
        """Note what a network has written into these slots, of which some are kept."""
        self.begun = True
        self._tag(target_BQ, torch.where(keep_BQ, ids_BQ, EMPTY))

    def lost(self, target_BQ: Tensor) -> None:
        """Note that a network has written into these slots what nobody keeps."""
        self._tag(target_BQ, torch.full_like(target_BQ, EMPTY))

    def _tag(self, target_BQ: Tensor, tag_BQ: Tensor) -> None:
        slots = self.tag_BN.shape[1]
        tag_BM = torch.nn.functional.pad(self.tag_BN, (0, 1))
        self.tag_BN = tag_BM.scatter(1, target_BQ.clamp_max(slots), tag_BQ)[:, :slots]

    def commit(self, fresh: KeyValues, feed_BQ: Tensor, keep_BQ: Tensor, ids_BQ: Tensor) -> None:
        """Store the fresh keys and values of the kept positions; the rest is forgotten."""
        slots = self.tag_BN.shape[1]
        self._changed()
        target_BQ = torch.where(keep_BQ, feed_BQ, slots)
        rows_B1 = torch.arange(target_BQ.shape[0], device=target_BQ.device)[:, None]
        # Whole heads at a time: three times as fast as a scatter of single numbers.
        for room, new in (
            (self.room.keys_YBGCE, fresh.keys_YBGCE),
            (self.room.values_YBGCE, fresh.values_YBGCE),
        ):
            room.transpose(2, 3)[:, rows_B1, target_BQ] = new.transpose(2, 3)
        self._tag(target_BQ, ids_BQ)

    def replace(self, fresh: KeyValues, ids_BN: Tensor) -> None:
        """Store the fresh keys and values of all positions, in order."""
        self._changed()
        self.content.keys_YBGCE.copy_(fresh.keys_YBGCE)
        self.content.values_YBGCE.copy_(fresh.values_YBGCE)
        self.tag_BN = ids_BN.clone()

    def _changed(self) -> None:
        """Note that something is stored by the store itself."""
        self.changes += 1
        self.begun = True

    def truncate(self, length_B: Tensor) -> None:
        """Forget every slot at or beyond each row's length."""
        slots_N = torch.arange(self.tag_BN.shape[1], device=self.tag_BN.device)
        self.invalidate(slots_N >= length_B[:, None])

    def invalidate(self, where_BN: Tensor) -> None:
        """Forget the chosen slots."""
        self.tag_BN = self.tag_BN.masked_fill(where_BN, EMPTY)

    def follow(self, layout: Layout) -> None:
        """Change the number of slots; what has moved is forgotten, its keys know their place.

        The layout is that of the canvas: variants that have rows of their own all follow it.
        """
        self.changes += 1
        variants = torch.split(self.tag_BN, len(layout.stayed_BM))
        self.tag_BN = torch.cat(
            [layout.carry(each, EMPTY).masked_fill(~layout.stayed_BM, EMPTY) for each in variants]
        )
        room = _room(layout.columns, self.capacity) - self.room.keys_YBGCE.shape[3]
        keys, values = (
            torch.nn.functional.pad(each, (0, 0, 0, room))
            for each in (self.room.keys_YBGCE, self.room.values_YBGCE)
        )
        self.room = KeyValues(keys_YBGCE=keys, values_YBGCE=values)

    def reorder(self, from_B: Tensor) -> None:
        """Let each row hold what the row `from_B`, int64, has held."""
        self.changes += 1
        self.room = KeyValues(
            keys_YBGCE=self.room.keys_YBGCE[:, from_B],
            values_YBGCE=self.room.values_YBGCE[:, from_B],
        )
        self.tag_BN = self.tag_BN[from_B]

    def of_rows(self, row_R: Tensor) -> Store:
        """A store of its own with what these rows hold."""
        twin = attrs.evolve(self)
        twin.reorder(row_R)
        return twin

    def snapshot(self) -> Store:
        """Copy the store, to roll back to later."""
        return attrs.evolve(self, room=self.room.copied(), tag_BN=self.tag_BN.clone())

    def rollback(self, saved: Store, rows_B: Tensor | None = None) -> None:
        """Return to a snapshot, which stays usable, in all rows or the chosen ones."""
        if rows_B is None:
            rows_B = torch.ones_like(self.tag_BN[:, 0], dtype=torch.bool)
        self.changes += 1
        where_B111 = rows_B[:, None, None, None]
        keys, values = self.room.keys_YBGCE, self.room.values_YBGCE
        keys.copy_(torch.where(where_B111, saved.room.keys_YBGCE, keys))
        values.copy_(torch.where(where_B111, saved.room.values_YBGCE, values))
        self.tag_BN = torch.where(rows_B[:, None], saved.tag_BN, self.tag_BN)


def _room(slots: int, capacity: int | None) -> int:
    """How many slots there are in memory."""
    return slots + 1 if capacity is None else max(slots, capacity)
