"""Random component trees, drawn from a registry."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from hypothesis import assume
from hypothesis import strategies as st

from dlmkit.component import Option, options_of, problem_with, union_members
from dlmkit.plugins import Registry
from dlmkit.spec.kinds import is_record, is_slot

SCALARS = {
    bool: (True, False),
    int: (0, 1, 2, 3, 32, 100),
    float: (0.0, 1e-5, 0.05, 0.25, 0.5, 0.9, 1.0, 2.5, 64.0),
    str: ("main", "on", "1e-3", "0o17", "a: b", "", "é\n", "~", "-", "null", "#x", "main "),
    Path: (Path("a/b"), Path("on")),
    type(None): (None,),
}


@attrs.frozen
class Trees:
    """Draws components of a registry with Hypothesis's `draw`."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    registry: Registry

    def component(self, base: type, depth: int) -> Any:
        """A component of a base class, at most `depth` levels deep."""
        return self.record(self.draw(st.sampled_from(self._classes(base, depth))), depth)

    def record(self, cls: type, depth: int) -> Any:
        """An attrs class, each option either left at its default or drawn."""
        values = {
            each.name: self._option(each, depth)
            for each in options_of(cls)
            if each.required or (self._members(each, depth - 1) and self.draw(st.booleans()))
        }
        try:
            made = cls(**values)
        except ValueError:
            assume(False)
        if is_slot(cls):
            complete = {each.name: getattr(made, each.name) for each in options_of(cls)}
            assume(not list(cls.check_options(complete)))
        return made

    def _classes(self, base: Any, depth: int) -> list[type]:
        """Classes whose required slots can be filled with what depth is left."""
        offered = [offer.cls for offer in self.registry.offers(base.role)] if depth > 0 else []
        return [
            cls
            for cls in offered
            if issubclass(cls, base)
            and all(self._members(each, depth - 1) for each in options_of(cls) if each.required)
        ]

    def _members(self, each: Option, depth: int) -> list[Any]:
        """Members of an option's type that can be drawn."""
        kinds = [inner for kind in union_members(each.type) for inner in union_members(kind)]
        return [kind for kind in kinds if self._possible(kind, each, depth)]

    def _possible(self, kind: Any, each: Option, depth: int) -> bool:
        if kind in SCALARS:
            return any(problem_with(value, each.checks) is None for value in SCALARS[kind])
        if is_slot(kind):
            return bool(self._classes(kind, depth))
        if typing.get_origin(kind) is tuple and each.required:
            return self._possible(typing.get_args(kind)[0], attrs.evolve(each, checks=()), depth)
        return True

    def _option(self, each: Option, depth: int) -> Any:
        kind = self.draw(st.sampled_from(self._members(each, depth - 1)))
        value = self._value(kind, each, depth - 1)
        assume(problem_with(value, each.checks) is None)
        return value

    def _value(self, kind: Any, each: Option, depth: int) -> Any:
        if kind in SCALARS:
            usable = [v for v in SCALARS[kind] if problem_with(v, each.checks) is None]
            return self.draw(st.sampled_from(usable))
        if is_slot(kind):
            return self.component(kind, depth)
        if is_record(kind):
            return self.record(kind, depth)
        arguments = typing.get_args(kind)
        item = attrs.evolve(each, checks=())
        if typing.get_origin(kind) is tuple:
            return tuple(
                self._value(inner, item, depth) for inner in self._items(arguments, item, depth)
            )
        if typing.get_origin(kind) is dict:
            return {"main": self._value(arguments[1], item, depth)}
        if typing.get_origin(kind) is typing.Literal:
            return self.draw(st.sampled_from(arguments))
        return self._value(self.draw(st.sampled_from(union_members(kind))), item, depth)

    def _items(self, arguments: tuple[Any, ...], each: Option, depth: int) -> tuple[Any, ...]:
        if arguments[-1] is not Ellipsis:
            return arguments
        if not self._possible(arguments[0], each, depth):
            return ()
        sizes = (2, 3) if each.required else (0, 1, 2)
        return arguments[:1] * self.draw(st.sampled_from(sizes))


@st.composite
def documents(draw, registry: Registry, cls: type, depth: int = 4) -> Any:
    """Documents with random pipelines."""
    return Trees(draw, registry).record(cls, depth)
