"""What a strategy may look at in one step.

Legend: B rows, N canvas positions, P window positions (the positions whose predictions are
wanted; the same number for every row, known on the host).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.errors import StrategyError
from dlmkit.host.kept import Kept
from dlmkit.loop.proposal import Proposal
from dlmkit.network import NetworkInfo
from dlmkit.noise import Noise

if TYPE_CHECKING:
    from dlmkit.roles import Strategy

__all__ = ["BlockSpan", "View", "whole_region", "window"]

Value = TypeVar("Value")


@attrs.frozen(eq=False)
class BlockSpan:
    """The block of each row: `start_B` to `stop_B` (exclusive), number `index_B`, all int64.

    `width` is at least every `stop - start` and is known without reading a tensor.
    """

    start_B: Tensor
    stop_B: Tensor
    index_B: Tensor
    width: int

    def held(self, before: BlockSpan, rows_B: Tensor) -> BlockSpan:
        """The same spans, but for the marked rows that would go on to a later one."""
        stay_B = rows_B & (self.index_B > before.index_B)
        return BlockSpan(
            start_B=torch.where(stay_B, before.start_B, self.start_B),
            stop_B=torch.where(stay_B, before.stop_B, self.stop_B),
            index_B=torch.where(stay_B, before.index_B, self.index_B),
            width=max(self.width, before.width),
        )


@attrs.frozen(kw_only=True, eq=False, slots=False)
class View:
    """A frozen snapshot of the decode before (or, for some revisers, after) a step's commits.

    `step` counts this decode's earlier steps; `block_step_B` those since the row entered its
    block; `block_masks_B` the masks of the block at that time; `steps_per_block` the number of
    steps a block will take where the transfer rule fixes it, else None.  `positions_BP` are
    canvas positions, with `inside_BP` false on filler.  `predicted_BP` is false where this step
    computes no prediction (None: it predicts them all); strategies read the others only.
    `held_B` marks rows that a reviser keeps in their block though it may be full (None: none).
    `taken_B` are the steps that a row has taken itself, where rows differ (None: `step` of them).
    Every row has spent at least `settled` steps in its block, known without reading a tensor.
    """

    canvas: Canvas
    info: NetworkInfo
    noise: Noise
    step: int
    block: BlockSpan
    block_step_B: Tensor
    block_masks_B: Tensor
    positions_BP: Tensor
    inside_BP: Tensor
    predicted_BP: Tensor | None = None
    held_B: Tensor | None = None
    taken_B: Tensor | None = None
    steps_per_block: int | None = None
    settled: int = 0
    memory: Mapping[int, Mapping[str, Tensor]] = attrs.field(factory=dict, repr=False)
    _open_BP: Tensor | None = attrs.field(default=None, repr=False)  # but for `predicted_BP`
    _in_block_BP: Tensor | None = attrs.field(default=None, repr=False)
    _deciding_B: Tensor | None = attrs.field(default=None, repr=False)  # with the two above
    _kept: Kept = attrs.field(factory=Kept, repr=False)
    _proposal: Proposal | None = attrs.field(default=None, repr=False)

    @property
    def proposal(self) -> Proposal:
        """What this step's pass proposes; known to exits, transfer rules, guards and revisers.

        Raises:
            StrategyError: the proposals have not been rated yet.
        """
        if self._proposal is None:
            raise StrategyError(
                f"the proposals of step {self.step} are not known yet",
                hint="read view.proposal in exits, transfer rules, guards and revisers only",
            )
        return self._proposal

    def proposing(self, proposal: Proposal) -> View:
        """The same view, with what the pass proposes."""
        view = object.__new__(View)
        view.__dict__.update(self.__dict__, _proposal=proposal)  # and what is worked out already
        return view

    def recall(self, owner: Strategy) -> Mapping[str, Tensor]:
        """Return the declared state of a strategy, by field name."""
        return self.memory[id(owner)]

    def while_settled(self, owner: Strategy, work: Callable[[], Value]) -> Value:
        """What `work` returns, done once for the steps in which rows neither enter a block nor end.

        It may look at blocks, lengths and which rows take part, and not at tokens.  `owner` is the
        strategy that asks; it has one such value.
        """
        if not self.settled or self._open_BP is None:  # without: the view of some other canvas
            return work()
        return self._kept.of(id(owner), (owner, self.canvas.done_B, self.held_B), work)

    def after(self, canvas: Canvas) -> View:
        """The same step seen with the canvas as it is now."""
        return attrs.evolve(self, canvas=canvas.snapshot(), open_BP=None)

    @property
    def taken(self) -> int | Tensor:
        """Steps that a row has taken: a plain number where all rows are alike, else int64 `[B]`."""
        return self.step if self.taken_B is None else self.taken_B

    @property
    def samples_B(self) -> Tensor:
        """Row identities, int64."""
        return self.canvas.samples_B

    @property
    def tokens_BN(self) -> Tensor:
        """The whole canvas, int64."""
        return self.canvas.tokens_BN

    @cached_property
    def tokens_BP(self) -> Tensor:
        """Tokens now at the window's positions, int64."""
        return self.canvas.tokens_BN.gather(1, self.positions_BP)

    @cached_property
    def masked_BP(self) -> Tensor:
        """Undecided positions of the window, bool."""
        return self.canvas.masked_BN.gather(1, self.positions_BP) & self.inside_BP

    @cached_property
    def in_block_BP(self) -> Tensor:
        """Positions of the window that lie in the row's current block, bool."""
        if self._in_block_BP is not None:
            return self._in_block_BP
        after_BP = self.positions_BP >= self.block.start_B[:, None]
        return after_BP & (self.positions_BP < self.block.stop_B[:, None]) & self.inside_BP

    @cached_property
    def eligible_BP(self) -> Tensor:
        """Undecided positions of the current block in rows that are still decoded, bool."""
        if self.in_block_BP is self.inside_BP:
            return self.open_BP
        return self.open_BP & self.in_block_BP

    @cached_property
    def open_BP(self) -> Tensor:
        """Undecided positions of the window that can be decided now, in any block, bool."""
        open_BP = self._open_BP
        if open_BP is None:
            open_BP = self.masked_BP & self.canvas.undone_B1
        return open_BP if self.predicted_BP is None else open_BP & self.predicted_BP

    @cached_property
    def deciding_B(self) -> Tensor:
        """Rows with something left to decide in their block, bool."""
        here = self._open_BP is not None and self._in_block_BP is not None
        if here and self._deciding_B is not None and self.predicted_BP is None:
            return self._deciding_B
        return self.eligible_BP.any(dim=1)

    @cached_property
    def live_B(self) -> Tensor:
        """Rows with something left to decide in their block, or to revise there, bool."""
        return self.deciding_B if self.held_B is None else self.deciding_B | self.held_B

    @cached_property
    def progress_B(self) -> Tensor:
        """Share of the initial masks that are decided, float32."""
        left_B = self.canvas.masked_BN.sum(dim=1)
        return 1.0 - left_B.float() / self.canvas.initial_masks_B.clamp_min(1).float()

    @cached_property
    def planned_steps_B(self) -> Tensor | None:
        """Steps of each row's decode where the transfer rule fixes them, int64; else None."""
        if self.steps_per_block is None:
            return None
        length_B = self.canvas.length_B - self.canvas.start_B
        return self.steps_per_block * -(-length_B // self.block.width)

    def uniform_BP(self, stream: str) -> Tensor:
        """A random number in (0, 1) for each position, float64; `stream` names who draws."""
        return self.noise.uniform_BP(stream, self.positions_BP)

    def gumbel_BP(self, stream: str) -> Tensor:
        """A standard Gumbel number for each position, float64."""
        return self.noise.gumbel_BP(stream, self.positions_BP)

    def gumbel_BPV(self, stream: str, vocabulary: int) -> Tensor:
        """A standard Gumbel number for each position and token, float64."""
        return self.noise.gumbel_BPV(stream, self.positions_BP, vocabulary)


def window(start_B: Tensor, stop_B: Tensor, width: int, columns: int) -> tuple[Tensor, Tensor]:
    """Positions `start .. start + width` of each row, and which of them lie before `stop`.

    Filler is clamped into the canvas so that it can be gathered.
    """
    positions_BP = start_B[:, None] + torch.arange(width, device=start_B.device)
    inside_BP = positions_BP < stop_B[:, None]
    return positions_BP.clamp_max(columns - 1), inside_BP


def whole_region(canvas: Canvas) -> BlockSpan:
    """One block from each row's first undecided position to its end."""
    return BlockSpan(
        start_B=canvas.start_B,
        stop_B=canvas.length_B,
        index_B=torch.zeros_like(canvas.length_B),
        width=canvas.region_width,
    )
