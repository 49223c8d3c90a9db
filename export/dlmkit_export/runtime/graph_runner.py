"""One graph in ONNX Runtime, reading and writing PyTorch's memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import onnxruntime
import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit_export.runtime.provider import provider_of

__all__ = ["GraphRunner", "Outputs"]

_ELEMENT_TYPES = {
    torch.float32: 1,
    torch.int32: 6,
    torch.int64: 7,
    torch.bool: 9,
    torch.float16: 10,
    torch.bfloat16: 16,
}
"""ONNX's numbers of the number formats that graphs use."""

_SPIN = {"session.force_spinning_stop": "1"}
"""Threads wait busily within a run only: between runs PyTorch has the cores."""


Outputs = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of each output."""


class GraphRunner:
    """Runs a graph on given tensors; nothing is copied on the way.

    What lies where it lay in the run before stays bound, so every run names the same inputs.
    Threads do not wait for each other: each binds memory of its own.
    """

    def __init__(self, path: Path, device: torch.device, threads: int) -> None:
        """Load the graph.

        Raises:
            EngineError: ONNX Runtime cannot run it, or not on this device.
        """
        self.device = device
        self._session = _open(path, device, threads)
        self._run_options = _run_options(device)
        self._bound = _Bound(self._session, device)

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
        bound = self._bound
        for name, tensor in inputs.items():
            bound.read(name, tensor)
        for name, tensor in rooms.items():
            bound.write(name, tensor)
        results = bound.written(outputs, reuse=reuse)
        try:
            self._session.run_with_iobinding(bound.binding, self._run_options)
        except Exception as error:  # its exceptions have no common base
            raise EngineError(
                f"ONNX Runtime failed while running the network: {_reason(error)}",
                hint="if memory is short, lower the batch size or shorten the text; else see "
                "whether --engine torch runs it, and report the difference",
            ) from error
        return results


class _Bound(threading.local):
    """What one thread has bound, and where."""

    def __init__(self, session: onnxruntime.InferenceSession, device: torch.device) -> None:
        self.binding = session.io_binding()
        self._device = device
        self._spare = torch.zeros(1, device=device)
        self._places: dict[str, tuple[torch.Size, int]] = {}
        self._outputs: Outputs = {}
        self._results: dict[str, Tensor] = {}

    def read(self, name: str, tensor: Tensor) -> None:
        """Bind an input, if it lies elsewhere than before."""
        self._move(self.binding.bind_input, name, tensor)

    def write(self, name: str, tensor: Tensor) -> None:
        """Bind an output to given memory, if it lies elsewhere than before."""
        self._move(self.binding.bind_output, name, tensor)

    def written(self, outputs: Outputs, *, reuse: bool) -> Mapping[str, Tensor]:
        """Memory for the results: that of the run before, or new one."""
        if not reuse or outputs is not self._outputs:
            self._outputs = outputs
            self._results = {
                name: torch.empty(shape, dtype=dtype, device=self._device)
                for name, (shape, dtype) in outputs.items()
            }
            for name, tensor in self._results.items():
                self._bind(self.binding.bind_output, name, tensor)
        return self._results

    def _move(self, bind: Callable[..., None], name: str, tensor: Tensor) -> None:
        place = tensor.shape, tensor.data_ptr()
        if self._places.get(name) != place:
            self._bind(bind, name, tensor)
            self._places[name] = place

    def _bind(self, bind: Callable[..., None], name: str, tensor: Tensor) -> None:
        """Say where a tensor lies; one without elements lies nowhere, which is not accepted."""
        pointer = tensor.data_ptr() if tensor.numel() else self._spare.data_ptr()
        index, kind = self._device.index or 0, _ELEMENT_TYPES[tensor.dtype]
        bind(name, self._device.type, index, kind, tuple(tensor.shape), pointer)


def _run_options(device: torch.device) -> onnxruntime.RunOptions | None:
    """On CUDA PyTorch's stream orders the work: nobody has to wait."""
    if device.type != "cuda":
        return None
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def _open(path: Path, device: torch.device, threads: int) -> onnxruntime.InferenceSession:
    provider, provider_options = provider_of(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # one is kept for each combination of sizes, which differ
    for key, value in _SPIN.items():
        options.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[(provider, provider_options)]
        )
    except Exception as error:  # its exceptions have no common base
        raise EngineError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {path.name}: {_reason(error)}",
            hint="update onnxruntime, or make the bundle again with --opset 20 and, on the CPU, "
            "--dtype float32",
        ) from error
    used = session.get_providers()
    if used[0] != provider:
        raise EngineError(
            f"ONNX Runtime would run on {used[0]} instead of {provider}",
            hint="see `dlmkit doctor`; use --device cpu to run on the CPU on purpose",
        )
    return session


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
