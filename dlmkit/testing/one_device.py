"""Catching tensors that lie elsewhere than the canvas, on a machine where all lie on the CPU.

A tensor made without a named device lies on the host.  On a GPU it may not meet the tensors of
a decode, unless it is a single number or an index.  Here one is told from the other by how it
came about, so that a CPU is enough to find the calls that a GPU would refuse.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["strays"]

MAKING = frozenset(
    {"arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "logspace", "ones"}
    | {"rand", "randint", "randn", "randperm", "scalar_tensor", "tensor", "tril_indices"}
    | {"triu_indices", "zeros"}
)
MOVING = frozenset({"copy_", "cuda", "to", "type_as"})
SHAPING = frozenset({"expand_as", "is_same_size", "reshape_as", "view_as"})
EVEN_NUMBERS = frozenset(
    {"bucketize", "cat", "gather", "index_select", "isin", "scatter", "scatter_", "searchsorted"}
    | {"stack", "take_along_dim"}
)
"""Calls that refuse single numbers of the host too."""

PLACES = (str(Path(torch.__file__).parent), __file__)


@contextmanager
def strays() -> Iterator[list[str]]:
    """Collect, while entered, the calls that would fail on a GPU, each with its place.

    Tensors from before are taken to lie on the device; so are those made for a named one.
    """
    found: list[str] = []
    with _Calls(found):
        yield found


class _Calls(TorchFunctionMode):
    """Follows what was made on the host through the calls that it goes into."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        given = list(_tensors((args, kwargs)))
        if _mixes(name, args, given):
            self.found.append(f"{name} at {_place()}")
        on_host = _on_host(name, args, kwargs, given)
        if any(result is each and on_host != _strayed(each) for each in given):
            result = result.view_as(result)  # on a GPU it would have been copied
        if on_host:
            for each in _tensors(result):
                each._on_host = True  # type: ignore[attr-defined]
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _strayed(tensor: Tensor) -> bool:
    return hasattr(tensor, "_on_host")


def _mixes(name: str, args: Any, given: list[Tensor]) -> bool:
    """Whether a call brings together what lies on the host and what does not."""
    if name in MOVING | SHAPING or len({_strayed(each) for each in given}) < 2:
        return False
    if name in ("__getitem__", "__setitem__") and not _strayed(args[0]):
        return False  # an index may lie on the host, and so may what is copied
    return name in EVEN_NUMBERS or any(_strayed(each) and each.ndim for each in given)


def _on_host(name: str, args: Any, kwargs: Any, given: list[Tensor]) -> bool:
    """Whether the result of a call lies on the host."""
    if name == "cpu":
        return True
    if name in MAKING and not given:
        return kwargs.get("device") is None
    if name == "to":
        return _sent_to_host(*args, **kwargs)
    if name in SHAPING:
        return _strayed(args[0])
    return bool(given) and all(_strayed(each) for each in given)


def _sent_to_host(tensor: Tensor, target: Any = None, *_: Any, **named: Any) -> bool:
    """Whether `to` brings a tensor to the host, or leaves it there; a device object is none."""
    target = named.get("device", named.get("other", target))
    if isinstance(target, Tensor):
        return _strayed(target)
    if isinstance(target, (str, torch.device)):
        return isinstance(target, str) and target == "cpu"
    return _strayed(tensor)


def _place() -> str:
    """The line outside PyTorch that made the call."""
    frames = [each for each in traceback.extract_stack() if not each.filename.startswith(PLACES)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
