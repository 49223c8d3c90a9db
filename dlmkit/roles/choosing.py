"""Roles that choose which proposals become tokens, and when to take all that are left.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from dlmkit.roles.proposing import ScoreSpace
from dlmkit.roles.strategy import Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.prediction import Prediction
    from dlmkit.view import View

__all__ = ["CommitGuard", "EarlyExit", "Exit", "TransferRule"]


class TransferRule(Strategy):
    """Chooses which proposals become tokens.

    `reads` lists the score spaces that it understands; empty means any.  A rule that may commit
    nothing in a step sets `may_wait`; any other must commit at least one eligible position in
    every row that has one.  `locality` says whether its choice hangs on place: `"near"` commits
    beside sure positions, `"far"` keeps commits apart.  `doubtful` says that it commits positions
    because they are uncertain.  Any other rule breaks ties of confidence towards the first
    position.  `whole` says that every step commits every eligible position.
    """

    role = "transfer"
    reads: ClassVar[frozenset[ScoreSpace]] = frozenset()
    may_wait: ClassVar[bool] = False
    locality: ClassVar[Literal["near", "far"] | None] = None
    doubtful: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    @abstractmethod
    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Return `commit_BP` bool.

        `confidence_BP` is minus infinity where the position is not eligible.
        """

    def steps_per_block(self, width: int) -> int | None:
        """Steps that a block of `width` masks takes where the rule fixes them, else None.

        A rule that `may_wait` must fix them and decide every mask by then.
        """
        return None

    def score_spaces(self) -> frozenset[ScoreSpace]:
        """The score spaces this object understands; by default those of its class."""
        return self.reads


class CommitGuard(Strategy):
    """Changes a selection, for example to keep a minimum or a maximum.

    `binding` says that it answers for the finished text, so that nothing may commit or write
    tokens behind its back; `drops` that it may take a part of a selection back.
    """

    role = "guard"
    binding: ClassVar[bool] = False
    drops: ClassVar[bool] = False

    @abstractmethod
    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Return the new `commit_BP` bool."""


@attrs.frozen
class Exit:
    """Rows that stop, and what happens to their remaining masks.

    `rows_B` bool.  `scope`: `"block"` ends the current block, `"canvas"` the whole row.  Masks in
    scope are filled with this step's proposals.
    """

    rows_B: Tensor
    scope: Literal["block", "canvas"]


class EarlyExit(Strategy):
    """Ends a block or a row before every position was decided on its own."""

    role = "exit"

    def anchored(self) -> bool:
        """Whether it looks at positions by their distance from the prompt."""
        return False

    @abstractmethod
    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit | None:
        """Return which rows exit, or None."""
