"""Catching reads of a tensor by the host, which stall a GPU and break compiled graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["host_reads", "reads_by_step"]

READING_CALLS = frozenset(
    {"__array__", "__bool__", "__float__", "__index__", "__int__", "argwhere", "cpu", "equal"}
    | {"is_nonzero", "item", "masked_select", "nonzero", "numpy", "tolist", "unique"}
    | {"unique_consecutive"}
)
READING_OPERATORS = frozenset({"_local_scalar_dense", "masked_select", "nonzero", "equal"})


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """Collect, while entered, the names of calls whose result depends on tensor values.

    A shape that depends on values counts too: `x[mask]` has to be counted out first.  Each read
    is listed once.
    """
    found: list[str] = []
    with _Calls(found), _Operators(found):
        yield found


def reads_by_step(steps: Iterator[object]) -> list[list[str]]:
    """Run a decode to its end; return what each step read, and at last what its end took."""
    found = []
    while True:
        with host_reads() as reads:
            over = next(steps, None) is None
        found.append(reads)
        if over:
            return found


class _Calls(TorchFunctionMode):
    """Sees what Python code calls, before PyTorch translates it to operators."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, before = getattr(func, "__name__", ""), len(self.found)
        reading = name in READING_CALLS
        if name == "__getitem__" and _has_mask(args[1]):
            reading, name = True, "indexing with a boolean mask"
        result = func(*args, **(kwargs or {}))
        if reading:
            # The operators behind the call read nothing of their own.
            self.found[before:] = [name]
        return result


class _Operators(TorchDispatchMode):
    """Sees operators, also those that other calls consist of."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in READING_OPERATORS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def _has_mask(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return any(isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in items)
