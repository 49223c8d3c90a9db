"""Per-decode state of strategies: declared by them, kept and reset here.

A strategy that compares with earlier steps lists `StateField`s and returns their next values
from `advance`.  It stays a frozen object, so one pipeline can serve many decodes at once.

Legend: B rows, N canvas positions, V vocabulary, Y layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.component import Component, StateField
from dlmkit.errors import StrategyError
from dlmkit.layout import Layout
from dlmkit.outcome import Outcome
from dlmkit.roles import Strategy

__all__ = ["Memory", "parts", "rows_of", "where_of"]


def parts(component: Component) -> Iterator[Component]:
    """Walk a component tree: the component itself, then everything in its options."""
    yield component
    cls: Any = type(component)
    for field in attrs.fields(cls):
        value: Any = getattr(component, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Component):
                yield from parts(item)


class Memory:
    """State tensors of every stateful strategy below a root, keyed by the strategy object."""

    def __init__(
        self, root: Component, canvas: Canvas, vocabulary: int, *, layers: int = 1
    ) -> None:
        stateful = (part for part in parts(root) if isinstance(part, Strategy) and part.state)
        # One object may stand in several slots; it has one state, and advances once.
        self._owners = list({id(part): part for part in stateful}.values())
        sizes = {"V": vocabulary, "Y": layers}
        self._values = {
            id(owner): {field.name: _fresh(field, canvas, sizes) for field in owner.state}
            for owner in self._owners
        }

    @property
    def values(self) -> Mapping[int, Mapping[str, Tensor]]:
        """State by object identity, as a view hands it out; later steps leave it as it is."""
        return dict(self._values)

    def holding(self, values: Mapping[int, Mapping[str, Tensor]]) -> Memory:
        """A memory of the same strategies with other values."""
        twin = object.__new__(Memory)
        twin._owners = self._owners
        twin.return_to(values)
        return twin

    def return_to(self, values: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Return to the state that `values` had when it was saved."""
        self._values = {owner: dict(fields) for owner, fields in values.items()}

    def rewind(self, saved: Mapping[int, Mapping[str, Tensor]], rows_B: Tensor) -> None:
        """Return the chosen rows to the state that `values` had when it was saved."""
        for owner, fields in self._values.items():
            self._values[owner] = where_of(rows_B, saved[owner], fields)

    def advance(self, outcome: Outcome) -> None:
        """Ask each owner for its next state; forget what belongs to reopened positions.

        Raises:
            StrategyError: an owner returned other state than it declares.
        """
        for owner in self._owners:
            new = owner.advance(outcome)
            names = {field.name for field in owner.state}
            if set(new) != names:
                raise StrategyError(
                    f"{owner.role} '{owner.name}' returned state {sorted(new)}, "
                    f"but declares {sorted(names)}"
                )
            self._values[id(owner)] = {
                field.name: _forget(field, new[field.name], outcome.reopened_BN)
                for field in owner.state
            }

    def follow(self, layout: Layout) -> None:
        """Move what belongs to positions to where they are now; new ones start afresh."""
        for owner in self._owners:
            values = self._values[id(owner)]
            self._values[id(owner)] = {
                field.name: values[field.name]
                if field.dims == "B"
                else layout.carry(values[field.name], field.fill)
                for field in owner.state
            }


def rows_of(
    values: Mapping[int, Mapping[str, Tensor]], index_B: Tensor
) -> dict[int, dict[str, Tensor]]:
    """State of other rows."""
    return {
        owner: {name: value[index_B] for name, value in fields.items()}
        for owner, fields in values.items()
    }


def where_of(
    rows_B: Tensor, ones: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """One owner's state: the first in the marked rows, the second elsewhere."""
    return {
        name: torch.where(rows_B.reshape(-1, *[1] * (other.ndim - 1)), ones[name], other)
        for name, other in others.items()
    }


def _fresh(field: StateField, canvas: Canvas, sizes: Mapping[str, int]) -> Tensor:
    size = sizes.get(field.dims[-1], field.size)
    shape = (*canvas.tokens_BN.shape, size)[: len(field.dims)]
    dtype = getattr(torch, field.dtype)
    return torch.full(shape, field.fill, dtype=dtype, device=canvas.tokens_BN.device)


def _forget(field: StateField, value: Tensor, reopened_BN: Tensor) -> Tensor:
    if field.keep or field.dims == "B":
        return value
    reopened = reopened_BN if field.dims == "BN" else reopened_BN[..., None]
    return value.masked_fill(reopened, field.fill)
