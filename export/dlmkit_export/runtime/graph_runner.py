"""One graph in ONNX Runtime, reading and writing PyTorch's memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit_export.runtime.provider import provider_of

__all__ = ["GraphRunner"]

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


class GraphRunner:
    """Runs a graph on given tensors and returns new ones; nothing is copied on the way."""

    def __init__(self, path: Path, device: torch.device, threads: int) -> None:
        """Load the graph.

        Raises:
            EngineError: ONNX Runtime cannot run it, or not on this device.
        """
        self.device = device
        self._session = _open(path, device, threads)
        self._run_options = onnxruntime.RunOptions()
        if device.type == "cuda":  # PyTorch's stream orders the work: nobody has to wait
            key = "disable_synchronize_execution_providers"
            self._run_options.add_run_config_entry(key, "1")
        self._spare = torch.zeros(1, device=device)

    def run(
        self, inputs: Mapping[str, Tensor], outputs: Mapping[str, tuple[tuple[int, ...], Any]]
    ) -> dict[str, Tensor]:
        """Run on contiguous inputs; `outputs` gives the shape and type of each result."""
        binding = self._session.io_binding()
        for name, tensor in inputs.items():
            binding.bind_input(name, *self._place(tensor))
        results = {
            name: torch.empty(shape, dtype=dtype, device=self.device)
            for name, (shape, dtype) in outputs.items()
        }
        for name, tensor in results.items():
            binding.bind_output(name, *self._place(tensor))
        try:
            self._session.run_with_iobinding(binding, self._run_options)
        except Exception as error:  # its exceptions have no common base
            raise EngineError(
                f"ONNX Runtime failed while running the network: {_reason(error)}",
                hint="if memory is short, lower the batch size or shorten the text; else see "
                "whether --engine torch runs it, and report the difference",
            ) from error
        return results

    def _place(self, tensor: Tensor) -> tuple[str, int, int, tuple[int, ...], int]:
        """Where a tensor lies; one without elements lies nowhere, which is not accepted."""
        pointer = tensor.data_ptr() if tensor.numel() else self._spare.data_ptr()
        index = self.device.index or 0
        kind = _ELEMENT_TYPES[tensor.dtype]
        return self.device.type, index, kind, tuple(tensor.shape), pointer


def _open(path: Path, device: torch.device, threads: int) -> onnxruntime.InferenceSession:
    provider, provider_options = provider_of(device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
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
