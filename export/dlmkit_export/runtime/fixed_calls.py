"""Calls of a graph at addresses that never change, which ONNX Runtime records as CUDA graphs.

A recording reads and writes where the first call did.  So each combination of sizes is bound to
memory of its own; keys and values lie in one place for a whole decode.
`gpu_graph_annotation_id` tells recordings apart; -1 makes none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from itertools import count

import attrs
import onnxruntime
from torch import Tensor

from dlmkit_export.runtime.bound import Bound, lasts

__all__ = ["FixedCall", "FixedCalls", "run_options"]

MOST = 16
"""Recordings of one graph; each holds the memory of a pass, and none can be given up."""
_SEEN = 64
"""Combinations of sizes that are remembered because they were met once."""

_NUMBERS = count()


def run_options(recording: int = -1) -> onnxruntime.RunOptions:
    """Options of a run on CUDA, where PyTorch's streams order the work: nobody has to wait."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    options.add_run_config_entry("gpu_graph_annotation_id", str(recording))
    return options


@attrs.frozen(eq=False)
class FixedCall:
    """One recording: what it is bound to, and the results, which lie in the same place always."""

    bound: Bound
    options: onnxruntime.RunOptions
    results: Mapping[str, Tensor]


class FixedCalls(threading.local):
    """The recordings that one thread makes of a graph: sizes that come again have one."""

    def __init__(self) -> None:
        self._calls: dict[object, FixedCall] = {}
        self._seen: set[object] = set()

    def of(
        self,
        inputs: Mapping[str, Tensor],
        rooms: Mapping[str, Tensor],
        bind: Callable[[], tuple[Bound, Mapping[str, Tensor]]],
    ) -> FixedCall | None:
        """The recording for inputs of these sizes; None: it is an ordinary call.

        `bind` binds these inputs anew, and gives the memory of the results.
        """
        lasting = [each for name, each in inputs.items() if lasts(name, each)]
        places = tuple(each.data_ptr() for each in (*lasting, *rooms.values()))
        key = (tuple(each.shape for each in inputs.values()), places)
        if key in self._calls:
            return self._calls[key]
        if key not in self._seen or len(self._calls) >= MOST:
            self._seen = {key} if len(self._seen) >= _SEEN else self._seen | {key}
            return None
        bound, results = bind()
        call = FixedCall(bound, run_options(next(_NUMBERS)), results)
        self._calls[key] = call
        return call
