"""Recording: work on a device that is launched again as a whole, without Python in between.

What is recorded reads and writes the very memory that it read and wrote then, and does what it did
then: no branch is taken anew, no number of the host is looked up again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["CudaGraphs", "FromOutside", "NotRecordableError", "Recorder", "SomeSteps"]

Result = TypeVar("Result")


class NotRecordableError(Exception):
    """The work asks for something on the host, or for memory of a size that only tensors know."""


class SomeSteps(int):
    """A number of steps of which no more is known than that it is not 0."""

    def __new__(cls) -> SomeSteps:
        """There is one such number."""
        return super().__new__(cls, 1)

    def _compared(self, other: object) -> bool:
        raise NotRecordableError("the step does what depends on how long its block has lasted")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compared
    __hash__ = int.__hash__


class Recorder(Protocol):
    """Records work of one device."""

    def record(self, work: Callable[[], Result]) -> tuple[Result, Callable[[], None]]:
        """Return what the work returns, and what repeats it in the same memory.

        The work may run several times meanwhile, and what it returns holds no numbers until the
        first repetition.

        Raises:
            NotRecordableError: the work cannot be repeated like that.
        """


class FromOutside(TorchDispatchMode):
    """Holds on to the tensors that work reads and did not make: what is recorded needs them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for each in tree_leaves((args, kwargs)):
            if isinstance(each, Tensor) and id(each) not in self._known:
                self._known.add(id(each))
                self.tensors.append(each)
        result = func(*args, **(kwargs or {}))
        self._known.update(id(each) for each in tree_leaves(result) if isinstance(each, Tensor))
        return result


class CudaGraphs:
    """Records CUDA graphs; all of them share one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def record(self, work: Callable[[], Result]) -> tuple[Result, Callable[[], None]]:
        """Warm the work up on a stream of its own, where it may not wait for the device; record it.

        Raises:
            NotRecordableError: it waits for the device, or launches what no graph can hold.
        """
        current, mode = torch.cuda.current_stream(), torch.cuda.get_sync_debug_mode()
        self._stream.wait_stream(current)
        graph, outside = torch.cuda.CUDAGraph(), FromOutside()
        try:
            torch.cuda.set_sync_debug_mode("error")
            with torch.cuda.stream(self._stream):
                work()
            torch.cuda.set_sync_debug_mode(mode)
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream), outside:
                result = work()
        except RuntimeError as error:
            raise NotRecordableError(str(error)) from error
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            torch.cuda.set_stream(current)  # a recording that breaks off leaves its own
            current.wait_stream(self._stream)

        def repeat(_: object = outside.tensors) -> None:
            graph.replay()

        return result, repeat
