"""What an option's type accepts, and how to say it in words."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal

import attrs

from dlmkit.component import Component, union_members
from dlmkit.plugins.registry import role_base
from dlmkit.roles import Strategy

__all__ = [
    "Accepts",
    "accepts",
    "article",
    "describe",
    "is_record",
    "is_slot",
    "item_type",
    "role_label",
    "show",
]

WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def is_slot(kind: Any) -> bool:
    """Whether the type is a component class, which makes the option a nested slot."""
    return isinstance(kind, type) and issubclass(kind, Component)


def is_record(kind: Any) -> bool:
    """Whether the type is a small attrs class that is no component."""
    return isinstance(kind, type) and attrs.has(kind) and not is_slot(kind)


@attrs.frozen
class Accepts:
    """The members of an option's type by the form in which a spec writes them."""

    scalars: tuple[Any, ...]
    literals: tuple[Any, ...]
    slots: tuple[type[Component], ...]
    records: tuple[type[Any], ...]
    lists: tuple[Any, ...]
    mappings: tuple[Any, ...]
    none: bool


def accepts(kind: Any) -> Accepts:
    """Sort the members of a type."""
    members = union_members(kind)
    return Accepts(
        scalars=tuple(m for m in members if m in (bool, int, float, str, Path)),
        literals=tuple(x for m in members if _origin(m) is Literal for x in typing.get_args(m)),
        slots=tuple(m for m in members if is_slot(m)),
        records=tuple(m for m in members if is_record(m)),
        lists=tuple(m for m in members if _origin(m) is tuple),
        mappings=tuple(m for m in members if _origin(m) is dict),
        none=type(None) in members,
    )


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind)


def item_type(kind: Any, index: int, count: int) -> Any:
    """Return the type of item `index` of a list type, or None when the count does not fit.

    `tuple[X, ...]` takes any number of items, `tuple[X, Y]` exactly two.
    """
    arguments = typing.get_args(kind)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return arguments[0]
    return arguments[index] if count == len(arguments) else None


def role_label(cls: type[Component]) -> str:
    """Return what a component of this role is called: `transfer strategy`, `procedure`."""
    base = role_base(cls)
    return f"{base.role} strategy" if issubclass(base, Strategy) else base.role.replace("-", " ")


def article(noun: str) -> str:
    """Put `a` or `an` before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def describe(kind: Any) -> str:
    """Say what a type accepts: `a number or null`, `a list of text`."""
    return " or ".join(_describe_member(member) for member in union_members(kind))


def _describe_member(kind: Any) -> str:
    if kind in WORDS:
        return WORDS[kind]
    if _origin(kind) is Literal:
        return "one of " + ", ".join(show(value) for value in typing.get_args(kind))
    if _origin(kind) is tuple:
        return _describe_list(kind)
    if is_slot(kind):
        return article(role_label(kind))
    return "a mapping"


def _describe_list(kind: Any) -> str:
    arguments = typing.get_args(kind)
    if arguments[-1] is Ellipsis:
        return f"a list (each item {describe(arguments[0])})"
    return f"a list of {len(arguments)} items"


def show(value: Any) -> str:
    """Write a value as a spec would."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)
