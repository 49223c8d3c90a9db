"""When drafting pays: the acceptance at which a round costs what the verifier alone would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.memory import parts
from dlmkit.roles import Procedure

if TYPE_CHECKING:
    from dlmkit.draft_verify.kernel import DraftVerify
    from dlmkit.profiling.weighing import Scales

__all__ = ["BreakEven", "break_even", "expected"]

PROMPT = 32
"""Positions that a prompt is taken to have."""


@attrs.frozen(kw_only=True)
class BreakEven:
    """A round of `steps` drafted steps: its price, and the acceptance that earns it.

    `drafting` is the price of the drafted steps and `verifying` that of the pass that checks
    them, over `rows` states, in units of a pass of the verifier over one canvas.  `acceptance`
    is the chance of a step to be kept, independent of the others, from which on a round decides
    as many steps as its price would buy; None: not even if all are kept.
    """

    steps: int
    rows: int
    drafting: float
    verifying: float
    acceptance: float | None

    def as_json(self) -> dict[str, Any]:
        """The break-even as plain data."""
        return attrs.asdict(self)


def break_even(procedure: DraftVerify, scales: Scales, gen_length: int) -> BreakEven:
    """Weigh the first round of a procedure; the verifier alone decides a step with each pass."""
    columns, steps = gen_length + PROMPT, max(int(procedure.schedule.start()), 1)
    rows = steps + 1 if procedure.view.steps else 1
    fed = columns + gen_length if procedure.view.needs().shadow else columns
    drafters = [part for part in parts(procedure.draft) if isinstance(part, Procedure)]
    drafting = sum(steps * scales.ratio(each.home(), (1, columns), columns) for each in drafters)
    verifying = scales.ratio(procedure.home(), (rows, fed), columns)
    return BreakEven(
        steps=steps,
        rows=rows,
        drafting=drafting,
        verifying=verifying,
        acceptance=_acceptance(steps, drafting + verifying),
    )


def expected(steps: int, acceptance: float) -> float:
    """Steps that a round decides: those kept up to the first failure, and the verifier's own."""
    return sum(acceptance**kept for kept in range(steps + 1))


def _acceptance(steps: int, price: float) -> float | None:
    """The least acceptance at which a round decides `price` steps, by bisection."""
    if expected(steps, 1.0) < price:
        return None
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if expected(steps, middle) >= price else (middle, high)
    return high
