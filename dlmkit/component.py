"""Components: attrs classes whose fields are their options.

One definition parses, validates, documents and completes in editors.  A component is frozen:
it holds options only.  What changes during a decode is declared as `StateField`s and kept by
the loop, so that one object may serve many decodes.
"""

from __future__ import annotations

import functools
import types
import typing
from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs

__all__ = [
    "Check",
    "Component",
    "Option",
    "StateField",
    "option",
    "options_of",
    "problem_with",
    "union_members",
]

Check = Callable[[Any], str | None]
"""Returns what is wrong with a value ("must be at least 0"), or None."""


@attrs.frozen
class StateField:
    """One tensor of per-decode state, kept by the loop and reset for every decode.

    `dims` is `"BN"` (one value per canvas position), `"BNV"` (one per position and token; as
    large as the logits of the whole canvas), `"BNY"` (one per position and layer of the network),
    `"BNK"` (`size` of them per position) or `"B"` (one value per row).  `dtype` names a torch
    dtype.  Where a position is reopened, its values go back to `fill`, unless `keep` is set.
    """

    name: str
    dtype: Literal["bool", "int64", "float32", "float64"]
    fill: float
    dims: Literal["B", "BN", "BNK", "BNV", "BNY"] = "BN"
    keep: bool = False
    size: int = 1


class Component(ABC):  # noqa: B024 - the roles below it have the abstract methods
    """Base of everything that a spec can name.

    Subclasses are decorated with `@attrs.frozen` and set `name` (kebab-case, unique in its
    role) and `version` (raised when the same options give different numbers).  `selector` is the
    key that holds the name in a spec; a role changes it only where `use` would read badly.
    `elsewhere` is a role's advice for names that nothing installed offers.
    """

    role: ClassVar[str] = ""
    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    state: ClassVar[tuple[StateField, ...]] = ()
    selector: ClassVar[str] = "use"
    elsewhere: ClassVar[str] = ""

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Yield `(option, message, hint)` for option values that do not fit together.

        Runs at check time, before any model is loaded; override where options interact.
        """
        return iter(())

    def checked_values(self) -> tuple[Any, ...]:
        """The values that an option's checks see in place of this component; by default itself."""
        return (self,)


def option(
    default: Any = attrs.NOTHING,
    *,
    doc: str,
    check: Check | Sequence[Check] = (),
    key: str | None = None,
    examples: Sequence[Any] = (),
) -> Any:
    """Declare an option of a component: an attrs field with its documentation.

    Args:
        default: the value when a spec leaves the option out; without one it is required.
        doc: one sentence, with the unit; shown by `dlmkit show` and in editors.
        check: predicates on the value, each returning what is wrong or None.
        key: the name in a spec where it cannot be a Python name (for example `from`).
        examples: values worth trying.

    Raises:
        ValueError: on construction in Python, when a check fails.
    """
    checks = (check,) if callable(check) else tuple(check)

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        problem = problem_with(value, checks)
        if problem:
            owner = getattr(instance, "name", "") or type(instance).__name__
            raise ValueError(f"{owner}.{attribute.name} {problem}; got {value!r}")

    metadata = {"dlmkit": {"doc": doc, "checks": checks, "key": key, "examples": tuple(examples)}}
    return attrs.field(default=default, validator=validate, metadata=metadata)


def problem_with(value: Any, checks: Sequence[Check]) -> str | None:
    """Return what the first failing check says about a value; None is never checked."""
    values = value.checked_values() if isinstance(value, Component) else (value,)
    for predicate in checks:
        for each in values:
            problem = None if each is None else predicate(each)
            if problem:
                return problem
    return None


@attrs.frozen
class Option:
    """Description of one option, read off the class: name, spec key, type, default, doc."""

    name: str
    key: str
    type: Any
    default: Any
    doc: str
    checks: tuple[Check, ...]
    examples: tuple[Any, ...]

    @property
    def required(self) -> bool:
        """Whether a spec must give this option."""
        return self.default is attrs.NOTHING

    @property
    def accepts_none(self) -> bool:
        """Whether `null` is a value of this option."""
        return type(None) in union_members(self.type)


def options_of(cls: type[Any]) -> tuple[Option, ...]:
    """List the options of an attrs class in declaration order, types resolved."""
    key: Any = cls  # classes are hashable, whatever their instances are
    return _read_options(key)


@functools.cache
def _read_options(cls: Any) -> tuple[Option, ...]:
    """Read the options off the class; resolving types takes long enough to do it once."""
    hints = typing.get_type_hints(cls)
    found = []
    for field in attrs.fields(cls):
        meta = field.metadata.get("dlmkit")
        if meta is None:
            continue
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # a class at run time
            default = default.factory()
        found.append(
            Option(
                name=field.name,
                key=meta["key"] or field.name,
                type=hints[field.name],
                default=default,
                doc=meta["doc"],
                checks=meta["checks"],
                examples=meta["examples"],
            )
        )
    return tuple(found)


def union_members(hint: Any) -> tuple[Any, ...]:
    """Split `A | B | None` into its members; any other type is its own only member."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return typing.get_args(hint)
    return (hint,)
