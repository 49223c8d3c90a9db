"""Walking the recipe of a document: its procedures, and what belongs to each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import Procedure, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.component import Component
    from dlmkit.spec.recipe import Recipe

__all__ = ["first", "own", "procedures", "simple", "together"]


def procedures(root: Recipe) -> Iterator[Recipe]:
    """Every procedure, outer ones first."""
    return (part for part in root.walk() if isinstance(part.component, Procedure))


def own(procedure: Recipe, kind: type = object) -> Iterator[Recipe]:
    """Parts of a procedure of that kind, without those of procedures nested in it."""
    for part in procedure.parts:
        if isinstance(part.component, Procedure):
            continue
        if isinstance(part.component, kind):
            yield part
        yield from own(part, kind)


def simple(procedure: Recipe, kind: type = object) -> Iterator[Recipe]:
    """Own parts of that kind that do not merely combine others of their role."""
    for part in own(procedure, kind):
        if not (isinstance(part.component, Strategy) and part.component.combines):
            yield part


def first(procedure: Recipe, role: type[Component]) -> Recipe | None:
    """What stands in a procedure's slot of that role, if anything."""
    return next((part for part in procedure.parts if isinstance(part.component, role)), None)


def together(root: Recipe, *roles: type[Component]) -> Iterator[tuple[Recipe, ...]]:
    """Each procedure that fills its slots of all these roles, followed by what stands there."""
    for procedure in procedures(root):
        parts = [part for role in roles if (part := first(procedure, role)) is not None]
        if len(parts) == len(roles):
            yield procedure, *parts
