"""Layouts: where every position of a resized canvas comes from.

A row may gain masks and lose positions; whatever is kept by position moves along.

Legend: B rows, N canvas positions, M canvas positions after the change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

if TYPE_CHECKING:
    from dlmkit.canvas import Canvas

__all__ = ["Layout"]


@attrs.frozen(kw_only=True, eq=False)
class Layout:
    """The places of a canvas after a change.

    `origin_BM` int64 is the position that each one had, -1 on new masks and padding; `length_B`
    the rows' new ends.  `columns`, `region_width` and `ragged` are known on the host.
    """

    origin_BM: Tensor
    length_B: Tensor
    columns: int
    region_width: int
    ragged: bool

    @classmethod
    def of(cls, canvas: Canvas, insert_BN: Tensor, delete_BN: Tensor) -> Layout | None:
        """Put that many masks behind each position and take others away; None: nothing changes.

        Costs one host read, of the new width.
        """
        delete_BN = delete_BN & canvas.inside_BN
        kept_BN = canvas.inside_BN & ~delete_BN
        stop_BN = (kept_BN + insert_BN).cumsum(dim=1)
        length_B = stop_BN[:, -1]
        changes = (insert_BN > 0) | delete_BN
        facts = (
            changes.any(),
            length_B.amax(),
            length_B.amin(),
            (length_B - canvas.start_B).amax(),
        )
        changed, columns, shortest, region = torch.stack([fact.long() for fact in facts]).tolist()
        if not changed:
            return None
        place_BN = torch.where(kept_BN, stop_BN - insert_BN - 1, columns)
        origin_BM = place_BN.new_full((place_BN.shape[0], columns + 1), -1)
        origin_BM = origin_BM.scatter(1, place_BN, canvas.columns_N.expand_as(place_BN))
        return cls(
            origin_BM=origin_BM[:, :columns],
            length_B=length_B,
            columns=columns,
            region_width=region,
            ragged=columns != shortest,
        )

    def carry(self, values_BN: Tensor, fill: float) -> Tensor:
        """Values of the old positions at the new ones; `fill` at positions that are new.

        Further dimensions, as in `values_BNV`, travel along.
        """
        index_BM, new_BM = self.origin_BM.clamp_min(0), self.origin_BM < 0
        for _ in values_BN.shape[2:]:
            index_BM, new_BM = index_BM[..., None], new_BM[..., None]
        carried = values_BN.gather(1, index_BM.expand(*index_BM.shape[:2], *values_BN.shape[2:]))
        return carried.masked_fill(new_BM, fill)

    @property
    def stayed_BM(self) -> Tensor:
        """Positions that are where they were, bool."""
        return self.origin_BM == torch.arange(self.columns, device=self.origin_BM.device)
