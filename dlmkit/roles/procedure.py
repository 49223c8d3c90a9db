"""Roles around a whole decode: what runs it, cuts it into fragments, looks on.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from dlmkit.component import Component

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.accounts.records import StepRecord
    from dlmkit.canvas import Canvas
    from dlmkit.context import Context
    from dlmkit.guarantee import Guarantee
    from dlmkit.network import NetworkInfo

__all__ = ["Observer", "Procedure", "Splitter"]


class Procedure(Component):
    """The root of a pipeline: decides which forward passes run, and in which order.

    `repeats` says that it decodes the same rows several times to get different texts; `requires`
    names what it needs of its model itself, as strategies do (see `Strategy`).
    """

    role = "procedure"
    requires: ClassVar[frozenset[str]] = frozenset()
    repeats: ClassVar[bool] = False

    @abstractmethod
    def home(self) -> str:
        """Name of the model whose tokens the canvas holds."""

    @abstractmethod
    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""

    def guarantees(self) -> Sequence[Guarantee] | None:
        """What it promises beside what holds for all: rows apart, seeds; None: it does not say."""
        return None


class Splitter(Component):
    """Cuts the decoded part of a text into fragments, which an outer procedure may redo."""

    role = "split"

    @abstractmethod
    def fragments(self, canvas: Canvas, info: NetworkInfo) -> Tensor:
        """Return `fragment_BN` int64: the number of each position's fragment, from 0.

        It is -1 where a position belongs to none: given text, masks, what only separates.
        """


class Observer(Component):
    """Sees every record; changes nothing."""

    role = "observe"

    @abstractmethod
    def step(self, record: StepRecord) -> None:
        """Take note of one step."""
