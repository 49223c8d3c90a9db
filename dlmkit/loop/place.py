"""The place of each row of a batch in its decode: its block, its window, its steps there.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.host.kept import Kept
from dlmkit.view import BlockSpan

__all__ = ["Place"]


@attrs.define(kw_only=True, eq=False, slots=False)
class Place:
    """Where the rows are: block and window, and what of it may be filled.

    `free_BP` are the positions of rows that are not done, `open_BP` the masks among them,
    `open_B` marks rows with any of these in their block; `step_B` counts the steps since a row
    entered its block, `masks_B` the masks it had then, `settled` the steps since any row has;
    `kept` is what was worked out for the steps since then.
    """

    block: BlockSpan
    positions_BP: Tensor
    inside_BP: Tensor
    in_block_BP: Tensor
    done_B: Tensor
    free_BP: Tensor
    open_BP: Tensor
    open_B: Tensor
    step_B: Tensor
    masks_B: Tensor
    columns_N: Tensor
    settled: int = 0
    kept: Kept = attrs.field(factory=Kept)

    def end(self, stop_B: Tensor, masked_BP: Tensor) -> None:
        """End the blocks of rows that have just entered theirs; each keeps its first position."""
        entered_B, block = self.step_B == 0, self.block
        stop_B = stop_B.maximum(block.start_B + 1).minimum(block.stop_B)
        self.block = attrs.evolve(block, stop_B=torch.where(entered_B, stop_B, block.stop_B))
        self.in_block_BP = self.in_block_BP & (self.positions_BP < self.block.stop_B[:, None])
        masks_B = (masked_BP & self.in_block_BP).sum(dim=1)
        self.masks_B = torch.where(entered_B, masks_B, self.masks_B)
        self.open_B = (self.open_BP & self.in_block_BP).any(dim=1)

    def stayed(self, canvas: Canvas) -> tuple[Place, Tensor] | None:
        """One more step in the same blocks, and the rows that are through with theirs, `moved_B`.

        None where positions have moved.
        """
        if canvas.columns_N is not self.columns_N:
            return None
        next_one = self.copy()
        if canvas.done_B is not self.done_B:
            next_one.done_B = canvas.done_B
            next_one.free_BP = self.inside_BP & canvas.undone_B1
        open_BP = canvas.masked_BN.gather(1, self.positions_BP) & next_one.free_BP
        block_BP = open_BP
        if self.in_block_BP is not self.inside_BP:
            block_BP = open_BP & self.in_block_BP
        next_one.open_BP, next_one.step_B = open_BP, self.step_B + 1
        next_one.settled = self.settled + 1
        return next_one, block_BP.any(dim=1) ^ self.open_B

    def copy(self) -> Place:
        """The same place, to be changed on its own."""
        twin = object.__new__(Place)
        twin.__dict__.update(self.__dict__)
        return twin
