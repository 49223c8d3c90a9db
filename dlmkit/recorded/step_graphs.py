"""Whole steps as recordings: network, decision and the flags of the next step in one launch.

A recording reads static tensors.  Before it is repeated, what has changed is copied into them;
afterwards, what it returns is copied out, because the next repetition writes over it.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.canvas import Canvas
from dlmkit.errors import DlmkitError
from dlmkit.loop.place import Place
from dlmkit.passes.session import SizeUnknownError
from dlmkit.recorded.nested import mapped, tensors_in
from dlmkit.recorded.recorder import NotRecordableError, Recorder

__all__ = ["After", "Before", "StepGraphs"]

MOST = 8
"""Recordings of one decode; each holds the memory of a pass."""


@attrs.frozen(kw_only=True, eq=False)
class Before:
    """All that a step reads and that is replaced from step to step.

    `step` is its number, a single int64; `proviso` says whether it is wanted (None: it is).
    """

    canvas: Canvas
    place: Place
    memory: Mapping[int, Mapping[str, Tensor]]
    held_B: Tensor | None
    tag_BN: Tensor | None
    proviso: Tensor | None
    step: Tensor


@attrs.frozen(kw_only=True, eq=False)
class After:
    """All that a step replaces, its record, and where rows are taken to be afterwards.

    `place` is where they were in the step.  The last two are flags of the next step.
    """

    canvas: Canvas
    place: Place
    memory: Mapping[int, Mapping[str, Tensor]]
    held_B: Tensor | None
    stuck_B: Tensor | None
    tag_BN: Tensor | None
    record: StepRecord
    next_place: Place
    moved_B: Tensor | None
    left_B: Tensor


class StepGraphs:
    """The recordings of one decode, by everything that the host decides about a step.

    A step runs once as it is, which makes what is made but once; the next like it is recorded.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._known: dict[Hashable, _StepGraph | Literal["new"] | None] = {}

    def step(
        self, before: Before, host: tuple[Hashable, ...], work: Callable[[Before], After]
    ) -> After | None:
        """What `work` returns for `before`; None where it is to be done without a recording.

        `host` is all that `work` depends on beside the tensors of `before`.
        """
        given = tensors_in(before)
        first: dict[int, int] = {}
        alike = tuple(first.setdefault(id(each), place) for place, each in enumerate(given))
        key = host, alike, tuple(each.shape for each in given)
        if key not in self._known:
            self._known[key] = "new" if len(self._known) < MOST else None
            return None
        graph = self._known[key]
        if graph == "new":
            graph = self._known[key] = self._recorded(before, given, work)
        return None if graph is None else graph.play(given)

    def _recorded(
        self, before: Before, given: Sequence[Tensor], work: Callable[[Before], After]
    ) -> _StepGraph | None:
        static = {id(each): each.clone() for each in given}
        fixed = mapped(before, lambda each: static[id(each)])
        try:
            after, repeat = self._recorder.record(lambda: work(fixed))
        except (NotRecordableError, SizeUnknownError, DlmkitError):
            return None
        return _StepGraph([static[id(each)] for each in given], after, repeat)


class _StepGraph:
    """A recorded step: the tensors it reads, what it returns, and what repeats it."""

    def __init__(self, inputs: Sequence[Tensor], after: After, repeat: Callable[[], None]) -> None:
        self._inputs = inputs
        self._after = after
        self._repeat = repeat
        self._given: Sequence[Tensor | None] = [None] * len(inputs)

    def play(self, given: Sequence[Tensor]) -> After:
        """Repeat the step from other tensors; what it returns is not touched again."""
        three = zip(self._inputs, given, self._given, strict=True)
        new = [(room, each) for room, each, before in three if each is not before]
        if new:
            torch._foreach_copy_([room for room, _ in new], [each for _, each in new])
        self._repeat()
        self._given = given
        out = {id(room): each for room, each in zip(self._inputs, given, strict=True)}

        def copied(tensor: Tensor) -> Tensor:
            if id(tensor) not in out:
                out[id(tensor)] = tensor.clone()
            return out[id(tensor)]

        return mapped(self._after, copied)
