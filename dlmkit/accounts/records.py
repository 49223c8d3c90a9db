"""What happened: one record for each forward pass, and the account of what was executed.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Literal

import attrs
from torch import Tensor

from dlmkit.view import BlockSpan

if TYPE_CHECKING:
    from dlmkit.canvas import Canvas
    from dlmkit.draft_verify.audit import Audit
    from dlmkit.outcome import Outcome

__all__ = ["Change", "Counts", "Phase", "StepRecord"]

Phase = Literal["decode", "draft", "verify"]
"""What a pass is for: to decide, to guess what is checked later, or to check it."""


@attrs.frozen
class Counts:
    """Work that a network executed, never what was merely asked for.

    `forwards`: calls; `rows`: rows over all calls; `fed_positions`: rows x fed positions over
    all calls.  Of these, `prefills` calls stored the first that a store holds, which takes the
    prompt, and fed `prefill_positions`; without a cache there is none.
    """

    forwards: int = 0
    rows: int = 0
    fed_positions: int = 0
    prefills: int = 0
    prefill_positions: int = 0

    def plus(self, *, rows: int, fed: int, prefill: bool = False) -> Counts:
        """Account for one more call that fed `fed` positions in total."""
        return Counts(
            forwards=self.forwards + 1,
            rows=self.rows + rows,
            fed_positions=self.fed_positions + fed,
            prefills=self.prefills + prefill,
            prefill_positions=self.prefill_positions + fed * prefill,
        )

    def with_more(self, others: Counts) -> Counts:
        """The sum of two accounts."""
        return Counts(*map(add, attrs.astuple(self), attrs.astuple(others)))

    def since(self, earlier: Counts) -> Counts:
        """What was executed after an earlier account."""
        return Counts(
            forwards=self.forwards - earlier.forwards,
            rows=self.rows - earlier.rows,
            fed_positions=self.fed_positions - earlier.fed_positions,
            prefills=self.prefills - earlier.prefills,
            prefill_positions=self.prefill_positions - earlier.prefill_positions,
        )


@attrs.frozen
class Change:
    """A canvas position that a step changed: `token` is the mask id where it was reopened."""

    row: int
    position: int
    token: int
    confidence: float | None = None


@attrs.frozen(kw_only=True, eq=False)
class StepRecord:
    """One forward pass and what came of it; tensors stay on the device until they are read.

    `network` names the model in the spec; `counts` is that network's account after the pass.
    `before_BN` and `after_BN` are the canvas around the step; `confidence_BP` rates the
    proposals at `positions_BP` (minus infinity where not eligible); `live_B` marks the rows that
    took part, and `block` says where each of them was.  `phase` says what the pass was for:
    `decode`, to `draft` tokens that are yet to be checked, or to `verify` them, in which case
    `audit` says what became of them.  Where the step ended with a new layout,
    `laid_out` is the canvas in it, from which the next step starts.
    """

    step: int
    network: str
    counts: Counts
    before_BN: Tensor
    after_BN: Tensor
    positions_BP: Tensor
    proposals_BP: Tensor
    confidence_BP: Tensor
    live_B: Tensor
    block: BlockSpan
    laid_out: Canvas | None = None
    phase: Phase = "decode"
    audit: Audit | None = None

    @classmethod
    def of(
        cls, outcome: Outcome, network: str, counts: Counts, laid_out: Canvas | None = None
    ) -> StepRecord:
        """Record a finished step."""
        return cls(
            step=outcome.view.step,
            network=network,
            counts=counts,
            before_BN=outcome.before_BN,
            after_BN=outcome.after_BN,
            positions_BP=outcome.view.positions_BP,
            proposals_BP=outcome.proposals_BP,
            confidence_BP=outcome.confidence_BP,
            live_B=outcome.view.live_B,
            block=outcome.view.block,
            laid_out=laid_out,
        )

    def changes(self) -> list[Change]:
        """List the canvas changes in row and position order; reads the device."""
        changed_BN = self.before_BN != self.after_BN
        # A window position outside the window's row range keeps no confidence of its own.
        confidence_BN = self.confidence_BP.new_full(self.before_BN.shape, float("nan"))
        confidence_BN = confidence_BN.scatter_reduce(
            1, self.positions_BP, self.confidence_BP, reduce="amax", include_self=False
        )
        where = changed_BN.nonzero()
        tokens, scores = self.after_BN[changed_BN], confidence_BN[changed_BN]
        return [
            Change(
                row, position, token, None if score != score or score == -float("inf") else score
            )
            for (row, position), token, score in zip(
                where.tolist(), tokens.tolist(), scores.tolist(), strict=True
            )
        ]
