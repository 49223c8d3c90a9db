"""Checks of commit guards: of those that answer for the text, and of those that drop commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import CommitGuard, EarlyExit, LengthController, Reviser, TransferRule
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import own, procedures, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.component import Component
    from dlmkit.spec.recipe import Recipe

__all__ = ["GUARD_CHECKS"]


def bypassed_guard(root: Recipe) -> Iterator[Finding]:
    """Something commits, writes or cuts tokens behind a guard that answers for the text."""
    for procedure in procedures(root):
        parts = list(own(procedure))
        guards = [part.component for part in parts if isinstance(part.component, CommitGuard)]
        binding = next((guard for guard in guards if guard.binding), None)
        if binding is None:
            continue
        what = f"guard {binding.name!r} answers for the finished text"
        for part in parts:
            if _bypasses(part.component):
                message = f"{part.title} changes what is committed, but {what}"
                yield Finding(part, message, "leave one of the two out")
        if getattr(procedure.component, "max_steps", None) is not None:
            message = f"what is left after max_steps is committed unseen, but {what}"
            yield Finding(procedure, message, "leave max_steps out", "max_steps")


def unkept_plan(root: Recipe) -> Iterator[Finding]:
    """A rule plans the steps of a block, and a guard takes back what they should decide."""
    for procedure, rule in together(root, TransferRule):
        for part in own(procedure, CommitGuard):
            if rule.component.may_wait and part.component.drops:
                yield Finding(
                    part,
                    f"{part.title} drops commits, but transfer rule "
                    f"{rule.component.name!r} must decide everything by its last step",
                    "use a transfer rule that looks at every step anew, such as threshold or top-k",
                )


def _bypasses(component: Component) -> bool:
    if isinstance(component, Reviser):
        return not component.reopens
    return isinstance(component, EarlyExit | LengthController)


GUARD_CHECKS = (
    Check("bypassed-guard", "error", bypassed_guard),
    Check("kept-steps", "error", unkept_plan),
)
"""The checks of this module."""
