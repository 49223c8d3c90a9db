"""Example objects of any component class, made from what its options declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any, Literal, get_args, get_origin

import attrs

from dlmkit.component import Component, Option, options_of, problem_with, union_members
from dlmkit.testing.plain import PLAIN
from dlmkit.testing.plain_drafting import PLAIN_DRAFTING

__all__ = ["example_of", "values_for"]

SCALARS: dict[Any, tuple[Any, ...]] = {
    bool: (True, False),
    int: (3, 1, 2, 4, 8),
    float: (0.5, 0.9, 0.1, 1.0, 2.0),
    str: ("main",),
    type(None): (None,),
}
DEEPEST = 1


def example_of(
    cls: type[Component], offered: Iterable[type[Component]] = (), *, depth: int = 0
) -> Any:
    """Build an object of a class: its defaults, and the first value that each other option takes.

    Args:
        cls: the class.
        offered: classes that its slots may hold, beside the plain ones of this package.
        depth: how deep the object stands in others; the deepest hold plain components only.

    Raises:
        ValueError: an option takes none of the values that this function thinks of; give it an
            `examples=`.
    """
    known = tuple(offered)
    columns = {each.name: values_for(each, known, depth=depth) for each in options_of(cls)}
    while all(columns.values()):
        values = {name: column[0] for name, column in columns.items()}
        refused = [name for name, _, _ in cls.check_options(values)]
        if not refused:
            return cls(**values)
        columns[refused[0]].pop(0)
    empty = next(name for name, column in columns.items() if not column)
    raise ValueError(f"{cls.__name__}.{empty} needs `examples=`: no value is known for it")


def values_for(
    option: Option, offered: Sequence[type[Component]] = (), *, depth: int = 0
) -> list[Any]:
    """List valid values of an option: its default, others of its type, then its examples."""
    given = [] if option.required else [option.default]
    candidates = [*given, *_typed(option.type, offered, depth), *option.examples]
    return [each for each in candidates if problem_with(each, option.checks) is None]


def _typed(kind: Any, offered: Sequence[type[Component]], depth: int) -> Iterator[Any]:
    for member in union_members(kind):
        if member in SCALARS:
            yield from SCALARS[member]
        elif get_origin(member) is Literal:
            yield from get_args(member)
        elif get_origin(member) is tuple:
            yield from _tuples(get_args(member), offered, depth)
        elif isinstance(member, type) and issubclass(member, Component):
            yield from _components(member, offered, depth)
        elif isinstance(member, type) and attrs.has(member):
            yield from _records(member, offered, depth)


def _tuples(
    kinds: tuple[Any, ...], offered: Sequence[type[Component]], depth: int
) -> Iterator[tuple[Any, ...]]:
    """Tuples of any length of one type, or of a fixed list of types."""
    if kinds[-1:] == (Ellipsis,):
        few = tuple(islice(_typed(kinds[0], offered, depth), 3))
        yield from product(few, repeat=2)
        yield from product(few, repeat=1)
    else:
        yield from product(*(islice(_typed(kind, offered, depth), 3) for kind in kinds))


def _records(cls: type[Any], offered: Sequence[type[Component]], depth: int) -> Iterator[Any]:
    """Records with what they require, then with each optional field set as well."""
    columns = {each: values_for(each, offered, depth=depth) for each in options_of(cls)}
    required = {each.name: column[0] for each, column in columns.items() if each.required}
    extras = [
        {each.name: value}
        for each, column in columns.items()
        if not each.required
        for value in column[1:3]
    ]
    for extra in [{}, *extras]:
        try:
            yield cls(**(required | extra))
        except ValueError:  # fields that do not go together
            continue


def _components(
    base: type[Component], offered: Sequence[type[Component]], depth: int
) -> Iterator[Component]:
    yield from (cls() for cls in (*PLAIN, *PLAIN_DRAFTING) if issubclass(cls, base))
    for cls in offered if depth < DEEPEST else ():
        if issubclass(cls, base):
            try:
                yield example_of(cls, offered, depth=depth + 1)
            except ValueError:  # too deep to hold what it needs
                continue
