"""Where each row of a batch is: its block, its steps there, and the view made of both.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.network import NetworkInfo
from dlmkit.noise import Noise
from dlmkit.roles import Blocks, TransferRule
from dlmkit.view import BlockSpan, View, whole_region, window

__all__ = ["Tracker"]


@attrs.define(eq=False)
class Tracker:
    """Follows the rows from block to block.

    `region` asks for windows over the whole generated region instead of the current block.
    """

    canvas: Canvas
    info: NetworkInfo
    seed: int
    blocks: Blocks | None
    transfer: TransferRule
    region: bool
    _index_B: Tensor | None = None
    _step_B: Tensor | None = None
    _masks_B: Tensor | None = None

    def view(self, step: int, memory: Mapping[int, Mapping[str, Tensor]]) -> View:
        """Find each row's block and describe the step that is about to run."""
        snapshot = attrs.evolve(self.canvas)
        block = self.blocks.current(snapshot) if self.blocks else whole_region(snapshot)
        span = whole_region(snapshot) if self.region else block
        positions_BP, inside_BP = window(
            span.start_B, span.stop_B, span.width, snapshot.tokens_BN.shape[1]
        )
        block_step_B, block_masks_B = self._follow(block, positions_BP, inside_BP)
        return View(
            canvas=snapshot,
            info=self.info,
            noise=Noise(self.seed, snapshot.samples_B, step),
            step=step,
            block=block,
            block_step_B=block_step_B,
            block_masks_B=block_masks_B,
            positions_BP=positions_BP,
            inside_BP=inside_BP,
            steps_per_block=self.transfer.steps_per_block(block.width),
            window_is_block=span is block,
            memory=memory,
        )

    def _follow(
        self, block: BlockSpan, positions_BP: Tensor, inside_BP: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Steps since each row entered its block, and the block's masks at that time."""
        masked_BP = self.canvas.masked_BN.gather(1, positions_BP) & inside_BP
        if self.region:
            masked_BP = masked_BP & (positions_BP >= block.start_B[:, None])
            masked_BP = masked_BP & (positions_BP < block.stop_B[:, None])
        masks_B = masked_BP.sum(dim=1)
        if self._index_B is None or self._step_B is None or self._masks_B is None:
            self._step_B, self._masks_B = torch.zeros_like(masks_B), masks_B
        else:
            entered_B = block.index_B != self._index_B
            self._step_B = torch.where(entered_B, 0, self._step_B + 1)
            self._masks_B = torch.where(entered_B, masks_B, self._masks_B)
        self._index_B = block.index_B
        return self._step_B, self._masks_B
