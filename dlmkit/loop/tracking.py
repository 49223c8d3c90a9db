"""Where each row of a batch is: its block, its steps there, and the view made of both.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.host.flags import EXPECTED, Flags, Seen
from dlmkit.loop.place import Place
from dlmkit.network import NetworkInfo
from dlmkit.noise import Noise
from dlmkit.prediction import Prediction
from dlmkit.roles import Blocks, TransferRule
from dlmkit.view import BlockSpan, View, whole_region, window

__all__ = ["Look", "Tracker"]


@attrs.frozen(eq=False)
class Look:
    """A canvas after a step, where its rows are taken to be, and marks that say if they are.

    The marks are those of `Flags`.
    """

    canvas: Canvas
    place: Place
    held_B: Tensor | None
    moved_B: Tensor | None
    left_B: Tensor
    stuck_B: Tensor | None

    def flags(self) -> Flags:
        """Send the marks to the host."""
        return Flags(self.moved_B, self.left_B, self.stuck_B)


@attrs.define(eq=False)
class Tracker:
    """Follows the rows from block to block.

    `region` asks for windows over the whole generated region instead of the current block;
    `reopens` says that decided positions may become masks again; `place` is that of the last step.
    """

    canvas: Canvas
    info: NetworkInfo
    seed: int
    blocks: Blocks | None
    transfer: TransferRule
    region: bool
    reopens: bool
    place: Place | None = None

    def first(self, step: int, memory: Mapping[int, Mapping[str, Tensor]]) -> View:
        """Describe a step that no step has led to; reads nothing."""
        return self.arrive(self.look(), EXPECTED, step, memory)

    def next(self, step: int, memory: Mapping[int, Mapping[str, Tensor]]) -> View | None:
        """Describe the step that is about to run; None where nothing is left to decide."""
        look = self.look()
        seen = look.flags().read()
        return self.arrive(look, seen, step, memory) if seen.left else None

    def look(self, held_B: Tensor | None = None, stuck_B: Tensor | None = None) -> Look:
        """Look where the rows are after a step, which made no progress in `stuck_B`.

        Rows that keep their block until it is filled are taken to be still there; the marks
        say whether they are.  Rows in `held_B` stay though nothing may be masked there.
        """
        canvas, before = self.canvas.snapshot(), self.place
        stayed = before.stayed(canvas) if before is not None and self._keeps() else None
        if stayed is not None:
            left_B = (canvas.masked_BN & canvas.undone_B1).any(dim=1)
            return Look(canvas, stayed[0], held_B, stayed[1], left_B, stuck_B)
        place = self._moved(canvas, before, held_B)
        left_B = place.open_B if held_B is None else place.open_B | held_B
        return Look(canvas, place, held_B, None, left_B, stuck_B)

    def arrive(
        self, look: Look, seen: Seen, step: int, memory: Mapping[int, Mapping[str, Tensor]]
    ) -> View:
        """Describe the step that is about to run, now that it is known where the rows are."""
        canvas, place = look.canvas, look.place
        if seen.moved:
            place = self._moved(canvas, self.place, look.held_B)
        self.place = place
        return View(
            canvas=canvas,
            info=self.info,
            noise=Noise(self.seed, canvas.samples_B, step),
            step=step,
            block=place.block,
            block_step_B=place.step_B,
            block_masks_B=place.masks_B,
            positions_BP=place.positions_BP,
            inside_BP=place.inside_BP,
            held_B=look.held_B,
            steps_per_block=self.transfer.steps_per_block(place.block.width),
            memory=memory,
            open_BP=place.open_BP,
            in_block_BP=place.in_block_BP,
            deciding_B=place.open_B,
            settled=place.settled,
            kept=place.kept,
        )

    def bound(self, view: View, prediction: Prediction) -> View:
        """The view, with the ends that the blocks entered in this step choose for themselves."""
        place = self.place
        if place is None or view.settled or self.blocks is None or not self.blocks.foresees:
            return view
        place.end(self.blocks.end(prediction, view), view.masked_BP)
        return attrs.evolve(
            view,
            block=place.block,
            block_masks_B=place.masks_B,
            in_block_BP=place.in_block_BP,
            deciding_B=place.open_B,
        )

    def _keeps(self) -> bool:
        """Whether a row stays in its block until no mask is left there."""
        return not self.reopens and (self.blocks is None or self.blocks.until_filled)

    def _moved(self, canvas: Canvas, before: Place | None, held_B: Tensor | None) -> Place:
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
        return Place(
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
