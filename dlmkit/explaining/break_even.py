"""When drafting pays: the acceptance at which a round costs what the verifier alone would.

Legend: B patterns of passing and failing, E entries, X states fed.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING, Any

import attrs
import torch

from dlmkit.canvas import Canvas
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.round import Round
from dlmkit.draft_verify.verdict import Verdict
from dlmkit.loop.memory import parts
from dlmkit.noise import Noise
from dlmkit.roles import Procedure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlmkit.draft_verify.kernel import DraftVerify
    from dlmkit.draft_verify.roles import Look
    from dlmkit.profiling.weighing import Scales

__all__ = ["BreakEven", "break_even", "decided", "expected"]

PROMPT = 32
"""Positions that a prompt is taken to have."""

MASK = 1
"""Any token but those of the prompt, which are 0."""

MOST_STEPS = 12
"""Drafted steps that are looked at; of more, the first."""


@attrs.frozen(kw_only=True)
class BreakEven:
    """A round of `steps` drafted steps: its price, and the acceptance that earns it.

    `drafting` is the price of the drafted steps and `verifying` that of the pass that checks
    them, over `rows` states, in units of a pass of the verifier over one canvas.  `acceptance`
    is the chance of a step to pass, independent of the others, from which on a round decides
    as many steps as its price would buy; None: not even if all pass.
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
    """Weigh the first round of a procedure; the verifier alone decides a step with each pass.

    Steps of drafter and verifier are taken to be of one size, a token each.
    """
    columns = gen_length + PROMPT
    level = torch.tensor([procedure.schedule.start()], dtype=torch.float64)
    drafted = int(procedure.schedule.budget(level)[0])
    steps = min(max(drafted, 1), MOST_STEPS, gen_length)
    look = _look(procedure, steps, gen_length)
    rows = 1 if look.columns else look.tokens_BXN.shape[1]
    drafters = [part for part in parts(procedure.draft) if isinstance(part, Procedure)]
    drafting = sum(
        steps * scales.ratio(each.home(), (1, _fed(each, gen_length)), columns) for each in drafters
    )
    fed = _fed(procedure.verifier, gen_length) + _extra(procedure, look, gen_length)
    verifying = scales.ratio(procedure.home(), (rows, fed), columns)
    return BreakEven(
        steps=steps,
        rows=rows,
        drafting=drafting,
        verifying=verifying,
        acceptance=_acceptance(decided(procedure, steps), drafting + verifying),
    )


def decided(procedure: DraftVerify, steps: int) -> list[float]:
    """Steps that a round decides, on average, by how many of its drafted steps pass.

    Every pattern of passing and failing goes through the procedure's own scope, resolver and
    bonus.  A round that decides nothing costs nothing more than it decides: what it lacks is made
    good by a pass of the verifier alone.
    """
    patterns_B = torch.arange(2**steps)
    ok_BE = (patterns_B[:, None] >> torch.arange(steps)) & 1 > 0
    draft, _ = _round(procedure, 2**steps, steps)
    passed_BE = procedure.scope.limit(draft, ok_BE)
    verdict = Verdict(ok_BE=ok_BE, token_BE=draft.token_BE)
    resolution = procedure.resolve.resolve(draft, passed_BE, verdict)
    written_B = (resolution.keep_BE | resolution.correct_BE).sum(dim=1)
    extra_B = (written_B == 0) & _shows_canvas(_look(procedure, steps, steps))
    if procedure.bonus is not None:
        extra_B = extra_B | procedure.bonus.rows(draft, resolution)
    steps_B = (written_B + extra_B).double()
    return [float(steps_B[ok_BE.sum(dim=1) == count].mean()) for count in range(steps + 1)]


def expected(decided_by_count: Sequence[float], acceptance: float) -> float:
    """Steps that a round decides if each drafted step passes with that chance."""
    steps = len(decided_by_count) - 1
    return sum(
        comb(steps, count) * acceptance**count * (1 - acceptance) ** (steps - count) * found
        for count, found in enumerate(decided_by_count)
    )


def _look(procedure: DraftVerify, steps: int, gen_length: int) -> Look:
    """What the verifier is fed in one row's round."""
    return procedure.view.look(*_round(procedure, 1, steps, gen_length))


def _round(
    procedure: DraftVerify, rows: int, steps: int, gen_length: int | None = None
) -> tuple[Draft, Round]:
    """A draft of one token in each step, and the round that it belongs to."""
    gen_length = gen_length or steps
    canvas = Canvas.create([[0] * PROMPT] * rows, gen_length, MASK)
    position_BE = (PROMPT + torch.arange(steps)).expand(rows, -1)
    draft = Draft.chain(position_BE, torch.zeros_like(position_BE), position_BE >= 0)
    return draft, Round(
        number=0,
        canvas=canvas,
        noise=Noise(0, canvas.samples_B, 0),
        budget_B=torch.full_like(canvas.start_B, steps),
        schedule=procedure.schedule,
    )


def _shows_canvas(look: Look) -> bool:
    """Whether the verifier is shown the canvas as it stands, so that it may step from there."""
    masks_BXN = look.tokens_BXN[..., PROMPT:] == MASK
    return look.entries == "causal" or bool(masks_BXN.all(dim=2).any())


def _fed(procedure: Procedure, gen_length: int) -> int:
    """Positions that a pass computes for one canvas, where a cache holds the rest."""
    columns = gen_length + PROMPT
    if not isinstance(procedure, Denoise) or procedure.cache is None:
        return columns
    width = _width(procedure, gen_length)
    return width if procedure.cache.confined() else columns


def _width(pipeline: Denoise, gen_length: int) -> int:
    blocks = pipeline.blocks
    return (blocks.planned_width(gen_length) if blocks else None) or gen_length


def _extra(procedure: DraftVerify, look: Look, gen_length: int) -> int:
    """Positions beside those of a canvas: shadows, states in columns, guesses beyond a block."""
    entries = look.rates_BE.shape[1]
    if look.columns:
        return entries
    if look.entries == "hidden":
        return _width(procedure.verifier, gen_length) if look.whole_block else entries
    cached = _fed(procedure.verifier, gen_length) < gen_length + PROMPT
    return entries if look.entries == "causal" and cached else 0


def _acceptance(decided_by_count: Sequence[float], price: float) -> float | None:
    """The least acceptance at which a round decides `price` steps, by bisection."""
    if expected(decided_by_count, 1.0) < price:
        return None
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        enough = expected(decided_by_count, middle) >= price
        low, high = (low, middle) if enough else (middle, high)
    return high
