"""Recipes: a component tree with its path in the spec and the position of every part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from dlmkit.component import Component, options_of
from dlmkit.spec.kinds import is_record
from dlmkit.spec.report import Mark

__all__ = ["Recipe", "join", "recipe_of"]


@attrs.frozen
class Recipe:
    """A checked part of a spec.

    `path` is its place (`pipeline.exit[0]`), `mark` where it was written (None for an object
    made in Python), `marks` where each of its options was written, `parts` the components in it.
    """

    component: Any
    path: str
    mark: Mark | None = None
    marks: Mapping[str, Mark] = attrs.field(factory=dict)
    parts: tuple[Recipe, ...] = ()

    @property
    def title(self) -> str:
        """The component as messages call it: its role and its name."""
        return f"{self.component.role} {self.component.name!r}"

    def walk(self) -> Iterator[Recipe]:
        """Yield this recipe and everything in it, outermost first."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def part(self, option: str) -> Recipe | None:
        """Return the part in a slot that holds one component, or None."""
        path = join(self.path, option)
        return next((part for part in self.parts if part.path == path), None)

    def where(self, option: str | None = None) -> Mark | None:
        """Return where an option was written, else where the part was."""
        return self.marks.get(option, self.mark) if option else self.mark


def join(path: str, key: str) -> str:
    """Append a key to a path."""
    return f"{path}.{key}" if path else key


def recipe_of(component: Any, path: str = "") -> Recipe:
    """Return the recipe of an object made in Python: the same tree without positions."""
    parts: list[Recipe] = []
    for each in options_of(type(component)):
        _collect(getattr(component, each.name), join(path, each.key), parts)
    return Recipe(component, path, parts=tuple(parts))


def _collect(value: Any, path: str, parts: list[Recipe]) -> None:
    if isinstance(value, Component) or is_record(type(value)):
        parts.append(recipe_of(value, path))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            _collect(item, f"{path}[{index}]", parts)
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(item, join(path, key), parts)
