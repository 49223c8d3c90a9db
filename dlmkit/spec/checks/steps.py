"""Checks of how many steps a pipeline takes, and of what counts on their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import Blocks, LengthController, Strategy, TransferRule
from dlmkit.schedules import Schedule
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import first, own, procedures, simple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["STEP_CHECKS"]


def termination(root: Recipe) -> Iterator[Finding]:
    """Masks may be put back for ever."""
    for procedure in procedures(root):
        if getattr(procedure.component, "max_steps", None) is not None:
            continue
        for part in simple(procedure, Strategy):
            if part.component.reopens:
                yield Finding(
                    part,
                    f"{part.title} may put masks back for ever",
                    "set max_steps in the pipeline",
                )


def step_cap(root: Recipe) -> Iterator[Finding]:
    """The transfer rule plans more steps than max_steps allows."""
    for procedure in procedures(root):
        cap = getattr(procedure.component, "max_steps", None)
        planned = _planned_steps(procedure, root.component.gen_length)
        if cap is not None and planned is not None and planned > cap:
            yield Finding(
                procedure,
                f"the pipeline plans {planned} steps, but max_steps is {cap}",
                "all that is left then is committed at once; plan fewer steps",
                "max_steps",
            )


def _planned_steps(procedure: Recipe, gen_length: int) -> int | None:
    rule, blocks = first(procedure, TransferRule), first(procedure, Blocks)
    if rule is None or first(procedure, LengthController):
        return None
    width = blocks.component.planned_width(gen_length) if blocks else gen_length
    if width is None:
        return None
    steps: int | None = rule.component.steps_per_block(width)
    return steps and steps * -(-gen_length // width)


def unknown_share(root: Recipe) -> Iterator[Finding]:
    """A cache must know how many tokens a step decides, and the transfer rule does not fix it."""
    for procedure in procedures(root):
        fixed = _planned_steps(procedure, root.component.gen_length) is not None
        for part in () if fixed else own(procedure, Strategy):
            if "fixed-steps" in part.component.requires:
                yield Finding(
                    part,
                    f"{part.title} needs a transfer rule with a fixed number of steps",
                    "use a transfer rule such as quota",
                )


def schedule_steps(root: Recipe) -> Iterator[Finding]:
    """A schedule runs over steps whose number is not fixed."""
    for procedure in procedures(root):
        if _planned_steps(procedure, root.component.gen_length) is not None:
            continue
        for part in own(procedure, Schedule):
            if part.component.over == "steps":
                message = "the schedule runs over steps, but their number is not fixed"
                yield Finding(part, message, "write `over: filled`", "over")


STEP_CHECKS = (
    Check("C18", "error", termination),
    Check("C23", "warning", step_cap),
    Check("fixed-steps", "error", unknown_share),
    Check("schedule-steps", "error", schedule_steps),
)
"""The checks of this module, in the order in which they run."""
