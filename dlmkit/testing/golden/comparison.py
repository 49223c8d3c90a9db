"""Comparing a replay with its trace: tokens, then what each pass committed, then the cost."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlmkit.testing.golden.replay import Replay
    from dlmkit.testing.golden.traces import GoldenCase, Step

__all__ = ["first_difference"]


def first_difference(case: GoldenCase, replayed: Replay) -> str | None:
    """Say where a replay leaves its trace, or return None.

    Wrong tokens are reported by the first pass that committed something else, where the trace
    tells.  Passes that change nothing do not count as steps, and fewer forward passes than the
    reference are welcome.  What the last pass decided beyond the returned text may have been cut
    off with it, and so may be missing in the trace.
    """
    step = _first_step(case, replayed)
    if case.outputs != replayed.outputs:
        return step or _first_token(case, replayed)
    if step:
        return step
    if replayed.nfe > case.nfe:
        return f"{replayed.nfe} forward passes, but the reference needs {case.nfe}"
    return None


def _first_step(case: GoldenCase, replayed: Replay) -> str | None:
    found = []
    for row, (wanted, got) in enumerate(zip(case.steps or (), replayed.steps, strict=False)):
        got = _cut(got, wanted, len(case.prompts[row]) + len(case.outputs[row]))
        for number, (one, other) in enumerate(zip_longest(wanted, got, fillvalue=()), 1):
            if one != other:
                text = f"step {number}, row {row}: expected {_show(one)}, got {_show(other)}"
                found.append((number, text))
                break
    return min(found)[1] if found else None


def _cut(got: tuple[Step, ...], wanted: tuple[Step, ...], end: int) -> tuple[Step, ...]:
    """Drop what the last step changed at `end` or later, unless the trace names it too."""
    if not got or len(got) != len(wanted):
        return got
    named = {position for position, _ in wanted[-1]}
    kept = tuple(change for change in got[-1] if change[0] < end or change[0] in named)
    return (*got[:-1], kept)


def _first_token(case: GoldenCase, replayed: Replay) -> str:
    for row, (wanted, got) in enumerate(zip(case.outputs, replayed.outputs, strict=True)):
        for offset, (one, other) in enumerate(zip_longest(wanted, got)):
            if one != other:
                return f"token {offset}, row {row}: expected {one}, got {other}"
    raise AssertionError("the outputs are equal")


def _show(step: Step) -> str:
    return ", ".join(f"{position}:{token}" for position, token in step) or "nothing"
