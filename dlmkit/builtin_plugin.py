"""The core's own plugin: combinators, schedules, the procedure and the composition checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlmkit.component import Component
    from dlmkit.spec.check import Check

__all__ = ["dlmkit_checks", "dlmkit_components"]


@hookimpl
def dlmkit_components() -> Iterable[type[Component]]:
    """Offer the components that belong to no particular method."""
    return []


@hookimpl
def dlmkit_checks() -> Iterable[Check]:
    """Offer the composition checks."""
    return []
