"""A recorder for any device, to tell on a CPU whether work can be recorded in a CUDA graph.

It does what a graph does: operators are repeated on the very tensors that they had, without
Python in between.  So numbers of the host that were baked in, results that are read after the next
repetition, and inputs that lie elsewhere by then show as they would on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dlmkit.recorded.recorder import NotRecordableError
from dlmkit.testing.host_reads import host_reads

__all__ = ["Tapes"]

Result = TypeVar("Result")


class Tapes:
    """Records tapes; `made` counts them, `played` how often one was repeated."""

    def __init__(self) -> None:
        self.made = 0
        self.played = 0

    def record(self, work: Callable[[], Result]) -> tuple[Result, Callable[[], None]]:
        """Run the work and note its operators.

        Raises:
            NotRecordableError: it reads a tensor on the host, or copies from the host.
        """
        tape = _Tape()
        with host_reads() as reads, tape:
            result = work()
        if reads:
            raise NotRecordableError(f"the work reads a tensor on the host: {reads[0]}")
        tape.spoil()
        self.made += 1

        def repeat() -> None:
            self.played += 1
            tape.play()

        return result, repeat


class _Tape(TorchDispatchMode):
    """Operators with their arguments and results, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name == "lift_fresh":
            raise NotRecordableError("the work takes numbers from the host to a tensor")
        result = func(*args, **kwargs)
        rooms = {_room(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        fresh = [
            (number, each)
            for number, each in enumerate(tree_leaves(result))
            if isinstance(each, Tensor) and _room(each) not in rooms
        ]
        if fresh or func._schema.is_mutable:  # else it gives views of what is there
            self._calls.append((func, args, kwargs, fresh))
        return result

    def spoil(self) -> None:
        """Fill the memory of all results with rubbish: a graph computes nothing when it is made."""
        with torch.inference_mode():
            for *_, fresh in self._calls:
                for _, tensor in fresh:
                    tensor.fill_(1)

    def play(self) -> None:
        """Repeat every operator, its results in the memory of the first ones."""
        with torch.inference_mode():
            for func, args, kwargs, fresh in self._calls:
                results = tree_leaves(func(*args, **kwargs))
                for number, tensor in fresh:
                    tensor.copy_(results[number])


def _room(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
