"""A check of commit guards that answer for the finished text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import CommitGuard, EarlyExit, LengthController, Reviser
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import own, procedures

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
                name = f"{part.component.role} {part.component.name!r}"
                message = f"{name} changes what is committed, but {what}"
                yield Finding(part, message, "leave one of the two out")
        if getattr(procedure.component, "max_steps", None) is not None:
            message = f"what is left after max_steps is committed unseen, but {what}"
            yield Finding(procedure, message, "leave max_steps out", "max_steps")


def _bypasses(component: Component) -> bool:
    if isinstance(component, Reviser):
        return not component.reopens
    return isinstance(component, EarlyExit | LengthController)


GUARD_CHECKS = (Check("bypassed-guard", "error", bypassed_guard),)
"""The checks of this module."""
