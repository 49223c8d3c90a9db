"""Tensors inside nested values: attrs objects, mappings and tuples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
from torch import Tensor

__all__ = ["mapped", "tensors_in"]

Value = TypeVar("Value")


def mapped(value: Value, change: Callable[[Tensor], Tensor]) -> Value:
    """The same value made anew with other tensors; what an object has worked out is left behind."""
    return _mapped(value, change)  # type: ignore[no-any-return]


def tensors_in(value: object) -> list[Tensor]:
    """Every tensor, in an order that the kind of value gives; one may be listed several times."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    mapped(value, note)
    return found


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        given = {field.alias: _mapped(getattr(value, field.name), change) for field in fields}
        return attrs.evolve(value, **given)
    if isinstance(value, Mapping):
        return {key: _mapped(each, change) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_mapped(each, change) for each in value)
    return value
