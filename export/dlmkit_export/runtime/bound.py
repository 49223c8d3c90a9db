"""Where a graph reads and writes: memory that stays bound from run to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnxruntime
import torch
from torch import Tensor

from dlmkit_export.contract import MIXTURE, TOKENS

__all__ = ["Bound", "Output", "Outputs", "lasts"]

_FORMATS = {
    "tensor(float)": torch.float32,
    "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64,
    "tensor(bool)": torch.bool,
    "tensor(float16)": torch.float16,
    "tensor(bfloat16)": torch.bfloat16,
}
"""ONNX Runtime's names of the number formats that graphs use."""
_ELEMENT_TYPES = {
    torch.float32: 1,
    torch.int32: 6,
    torch.int64: 7,
    torch.bool: 9,
    torch.float16: 10,
    torch.bfloat16: 16,
}
"""ONNX's numbers of them."""


Output = tuple[tuple[int, ...], torch.dtype]
"""Shape and type of an output."""

Outputs = Mapping[str, Output]


class Bound:
    """What one thread has bound a graph to.

    Keys and values, which are large, are bound where they lie.  Everything else is copied into
    memory of its own in the graph's number format, so binding anew is for other sizes and other
    stores; positions and masks only if they are not the same tensors as in the run before.
    """

    def __init__(self, session: onnxruntime.InferenceSession, device: torch.device) -> None:
        self.binding = session.io_binding()
        self._formats = {each.name: _FORMATS[each.type] for each in session.get_inputs()}
        self._device = device
        self._spare = torch.zeros(1, device=device)
        self._places: dict[str, tuple[torch.Size, int]] = {}
        self._given: dict[str, Tensor] = {}
        self._own: dict[str, Tensor] = {}
        self._outputs: Outputs = {}
        self._results: dict[str, Tensor] = {}

    def give(self, inputs: Mapping[str, Tensor], rooms: Mapping[str, Tensor]) -> None:
        """Let the next run read these inputs, and write those outputs that have a room there."""
        given = self._given
        for name, tensor in inputs.items():
            if given.get(name) is tensor and name not in TOKENS:
                continue
            if lasts(name, tensor):
                self._lies(self.binding.bind_input, name, tensor)
            else:
                self._copied(name, tensor)
        for name, tensor in rooms.items():
            self._lies(self.binding.bind_output, name, tensor)

    def results(self, outputs: Outputs, *, reuse: bool) -> Mapping[str, Tensor]:
        """Memory for the other outputs: with `reuse` that of the run before, or new one."""
        if not reuse or outputs is not self._outputs:
            self._outputs = outputs
            self._results = {
                name: torch.empty(shape, dtype=dtype, device=self._device)
                for name, (shape, dtype) in outputs.items()
            }
            for name, tensor in self._results.items():
                self._bind(self.binding.bind_output, name, tensor)
        return self._results

    def _copied(self, name: str, tensor: Tensor) -> None:
        own = self._own.get(name)
        if own is None or own.shape != tensor.shape:
            with torch.inference_mode(False):  # what is made in that mode is written there only
                own = torch.empty(tensor.shape, dtype=self._formats[name], device=self._device)
            self._own[name] = own
            self._bind(self.binding.bind_input, name, own)
        own.copy_(tensor)
        self._given[name] = tensor

    def _lies(self, bind: Callable[..., None], name: str, tensor: Tensor) -> None:
        place = tensor.shape, tensor.data_ptr()
        if self._places.get(name) != place:
            self._bind(bind, name, tensor)
            self._places[name] = place

    def _bind(self, bind: Callable[..., None], name: str, tensor: Tensor) -> None:
        """Say where a tensor lies; one without elements lies nowhere, which is not accepted."""
        pointer = tensor.data_ptr() if tensor.numel() else self._spare.data_ptr()
        index, kind = self._device.index or 0, _ELEMENT_TYPES[tensor.dtype]
        bind(name, self._device.type, index, kind, tuple(tensor.shape), pointer)


def lasts(name: str, tensor: Tensor) -> bool:
    """Whether an input is keys or values, which lie in one place for a whole decode."""
    return tensor.is_floating_point() and name not in MIXTURE
