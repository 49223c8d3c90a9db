"""One graph in ONNX Runtime, reading and writing PyTorch's memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit_export.runtime.bound import Bound, Outputs
from dlmkit_export.runtime.fixed_calls import FixedCalls, run_options
from dlmkit_export.runtime.provider import provider_of

__all__ = ["GraphRunner", "open_session"]

_SPIN = {"session.force_spinning_stop": "1"}
"""Threads wait busily within a run only: between runs PyTorch has the cores."""


class GraphRunner:
    """Runs a graph on given tensors; keys and values are not copied on the way.

    What lies where it lay in the run before stays bound, so every run names the same inputs.
    Threads do not wait for each other: each binds memory of its own.  On CUDA runs are ordered by
    a stream of the runner's own, which joins PyTorch's, and sizes that come again are recorded.
    """

    def __init__(self, path: Path, device: torch.device, threads: int) -> None:
        """Load the graph.

        Raises:
            EngineError: ONNX Runtime cannot run it, or not on this device.
        """
        self.device = device
        cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]
        handle = 0 if self._stream is None else self._stream.cuda_stream
        self._session, graphs = open_session(path, device, threads, handle)
        self._run_options = run_options() if cuda else None
        self._mine = _OfThread(self._session, device)
        self._fixed = FixedCalls() if graphs else None

    def run(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Outputs,
        *,
        reuse: bool,
        rooms: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Mapping[str, Tensor]:
        """Run on contiguous inputs; outputs in `rooms` go there, even where an input lies.

        With `reuse`, results stay what they are only until this thread's next run with the same
        object for `outputs`, which writes into their memory.

        Raises:
            EngineError: the run failed.
        """
        call = None
        if self._fixed is not None and reuse:
            call = self._fixed.of(inputs, rooms, lambda: self._apart(inputs, outputs, rooms))
        if call is not None:
            call.bound.give(inputs, rooms)
            self._start(call.bound.binding, call.options)
            return call.results
        bound = self._mine.bound
        bound.give(inputs, rooms)
        results = bound.results(outputs, reuse=reuse)
        self._start(bound.binding, self._run_options)
        return results

    def _apart(
        self, inputs: Mapping[str, Tensor], outputs: Outputs, rooms: Mapping[str, Tensor]
    ) -> tuple[Bound, Mapping[str, Tensor]]:
        """What is bound once and for all, and the memory of its results."""
        bound = Bound(self._session, self.device)
        bound.give(inputs, rooms)
        return bound, bound.results(outputs, reuse=False)

    def _start(
        self, binding: onnxruntime.IOBinding, options: onnxruntime.RunOptions | None
    ) -> None:
        current = None if self._stream is None else torch.cuda.current_stream(self.device)
        if self._stream is not None and current is not None:
            self._stream.wait_stream(current)
        try:
            self._session.run_with_iobinding(binding, options)
        except Exception as error:  # its exceptions have no common base
            raise EngineError(
                f"ONNX Runtime failed while running the network: {_reason(error)}",
                hint="if memory is short, lower the batch size or shorten the text; else see "
                "whether --engine torch runs it, and report the difference",
            ) from error
        if self._stream is not None and current is not None:
            current.wait_stream(self._stream)


class _OfThread(threading.local):
    """What this thread has bound."""

    def __init__(self, session: onnxruntime.InferenceSession, device: torch.device) -> None:
        self.bound = Bound(session, device)


def open_session(
    path: Path, device: torch.device, threads: int, stream: int
) -> tuple[onnxruntime.InferenceSession, bool]:
    """Load a graph; return also whether runs of it may be recorded.

    Raises:
        EngineError: ONNX Runtime cannot run it, or not on this device.
    """
    if device.type == "cuda":
        try:
            return _open(path, threads, provider_of(device, stream, graphs=True)), True
        except EngineError:  # CUDA graphs hold no graph of which a part runs on the host
            pass
    return _open(path, threads, provider_of(device, stream)), False


def _open(
    path: Path, threads: int, provider: tuple[str, dict[str, Any]]
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # one is kept for each combination of sizes, which differ
    for key, value in _SPIN.items():
        options.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # its exceptions have no common base
        raise EngineError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {path.name}: {_reason(error)}",
            hint="update onnxruntime, or make the bundle again with --opset 20 and, on the CPU, "
            "--dtype float32",
        ) from error
    used = session.get_providers()
    if used[0] != provider[0]:
        raise EngineError(
            f"ONNX Runtime would run on {used[0]} instead of {provider[0]}",
            hint="see `dlmkit doctor`; use --device cpu to run on the CPU on purpose",
        )
    return session


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
