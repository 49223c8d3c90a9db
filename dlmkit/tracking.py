"""Where each row of a batch is: its block, its steps there, and the view made of both.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.kept import Kept
from dlmkit.network import NetworkInfo
from dlmkit.noise import Noise
from dlmkit.prediction import Prediction
from dlmkit.roles import Blocks, TransferRule
from dlmkit.view import BlockSpan, View, whole_region, window

__all__ = ["Tracker"]


@attrs.define(eq=False)
class Tracker:
    """Follows the rows from block to block.

    `region` asks for windows over the whole generated region instead of the current block;
    `reopens` says that decided positions may become masks again.
    """

    canvas: Canvas
    info: NetworkInfo
    seed: int
    blocks: Blocks | None
    transfer: TransferRule
    region: bool
    reopens: bool
    _place: _Place | None = None

    def view(
        self,
        step: int,
        memory: Mapping[int, Mapping[str, Tensor]],
        held_B: Tensor | None = None,
    ) -> View:
        """Find each row's block and describe the step that is about to run.

        `held_B` marks rows that stay where they are though nothing may be masked there.
        """
        snapshot = self.canvas.snapshot()
        place = self._place
        if place is None or not (self._keeps() and place.stay(snapshot)):
            place = self._place = self._moved(snapshot, place, held_B)
        return View(
            canvas=snapshot,
            info=self.info,
            noise=Noise(self.seed, snapshot.samples_B, step),
            step=step,
            block=place.block,
            block_step_B=place.step_B,
            block_masks_B=place.masks_B,
            positions_BP=place.positions_BP,
            inside_BP=place.inside_BP,
            held_B=held_B,
            steps_per_block=self.transfer.steps_per_block(place.block.width),
            memory=memory,
            open_BP=place.open_BP,
            in_block_BP=place.in_block_BP,
            settled=place.settled,
            kept=place.kept,
        )

    def bound(self, view: View, prediction: Prediction) -> View:
        """The view, with the ends that the blocks entered in this step choose for themselves."""
        place = self._place
        if place is None or view.settled or self.blocks is None or not self.blocks.foresees:
            return view
        place.end(self.blocks.end(prediction, view), view.masked_BP)
        return attrs.evolve(
            view, block=place.block, block_masks_B=place.masks_B, in_block_BP=place.in_block_BP
        )

    def _keeps(self) -> bool:
        """Whether a row stays in its block until no mask is left there."""
        return not self.reopens and (self.blocks is None or self.blocks.until_filled)

    def _moved(self, canvas: Canvas, before: _Place | None, held_B: Tensor | None) -> _Place:
        """Find every row's block; a row that stays where it was goes on counting."""
        block = self.blocks.current(canvas) if self.blocks else whole_region(canvas)
        if before is not None and held_B is not None:
            block = block.held(before.block, held_B)
        if before is not None and self.blocks is not None and self.blocks.foresees:
            block = _continued(before.block, block, canvas)
        span = whole_region(canvas) if self.region else block
        columns = canvas.tokens_BN.shape[1]
        positions_BP, inside_BP = window(span.start_B, span.stop_B, span.width, columns)
        in_block_BP = inside_BP
        if self.region:
            after_BP = positions_BP >= block.start_B[:, None]
            in_block_BP = after_BP & (positions_BP < block.stop_B[:, None]) & inside_BP
        masked_BP = canvas.masked_BN.gather(1, positions_BP) & inside_BP
        free_BP = inside_BP & canvas.undone_B1
        open_BP = masked_BP & free_BP
        masks_B = (masked_BP & in_block_BP).sum(dim=1)
        step_B = torch.zeros_like(masks_B)
        if before is not None:
            entered_B = block.index_B != before.block.index_B
            step_B = torch.where(entered_B, 0, before.step_B + 1)
            masks_B = torch.where(entered_B, masks_B, before.masks_B)
        return _Place(
            block=block,
            positions_BP=positions_BP,
            inside_BP=inside_BP,
            in_block_BP=in_block_BP,
            done_B=canvas.done_B,
            free_BP=free_BP,
            open_BP=open_BP,
            open_B=(open_BP & in_block_BP).any(dim=1),
            step_B=step_B,
            masks_B=masks_B,
            columns_N=canvas.columns_N,
        )


def _continued(before: BlockSpan, block: BlockSpan, canvas: Canvas) -> BlockSpan:
    """Rows stay in a block while it holds a mask; the others enter the next one."""
    inside_BN = canvas.columns_N >= before.start_B[:, None]
    inside_BN = inside_BN & (canvas.columns_N < before.stop_B[:, None])
    open_B = (canvas.masked_BN & inside_BN).any(dim=1)
    return BlockSpan(
        start_B=torch.where(open_B, before.start_B, block.start_B),
        stop_B=torch.where(open_B, before.stop_B.minimum(canvas.length_B), block.stop_B),
        index_B=torch.where(open_B, before.index_B, before.index_B + 1),
        width=max(before.width, block.width),
    )


@attrs.define(kw_only=True, eq=False)
class _Place:
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

    def stay(self, canvas: Canvas) -> bool:
        """Count one more step in the same blocks, unless a row is through or positions moved."""
        if canvas.columns_N is not self.columns_N:
            return False
        if canvas.done_B is not self.done_B:
            self.done_B, self.free_BP = canvas.done_B, self.inside_BP & canvas.undone_B1
        block_BP = open_BP = canvas.masked_BN.gather(1, self.positions_BP) & self.free_BP
        if self.in_block_BP is not self.inside_BP:
            block_BP = open_BP & self.in_block_BP
        if not torch.equal(block_BP.any(dim=1), self.open_B):
            return False
        self.open_BP, self.step_B = open_BP, self.step_B + 1
        self.settled += 1
        return True
