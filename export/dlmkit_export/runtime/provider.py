"""Which ONNX Runtime provider runs a graph: the one that was asked for, or an error."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import torch

from dlmkit.errors import EngineError
from dlmkit.models.placement import choose_device

__all__ = ["provider_of", "runtime_device"]

_RIVALS = ("onnxruntime", "onnxruntime-gpu")
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def runtime_device(wanted: str) -> torch.device:
    """Return the device to run on; `auto` is CUDA where PyTorch and ONNX Runtime both have it.

    Raises:
        EngineError: the device is not usable with the installed packages.
    """
    _refuse_rivals()
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime cannot be imported: {error}",
            hint="pip install onnxruntime, or 'dlmkit[gpu]' for CUDA; or use --engine torch",
        ) from error
    offered = onnxruntime.get_available_providers()
    device = choose_device(wanted)
    if _PROVIDERS[device.type] in offered:
        return device
    if wanted == "auto":
        return torch.device("cpu")
    raise EngineError(
        f"the installed ONNX Runtime {onnxruntime.__version__} cannot use {device}",
        hint="pip uninstall onnxruntime, then pip install 'dlmkit[gpu]'; or use --device cpu",
    )


def provider_of(
    device: torch.device, stream: int = 0, *, graphs: bool = False
) -> tuple[str, dict[str, Any]]:
    """Return the provider's name and its options, on CUDA a stream, and whether it makes graphs."""
    if device.type == "cpu":
        return _PROVIDERS["cpu"], {}
    options = {"device_id": str(device.index or 0), "user_compute_stream": str(stream)}
    return _PROVIDERS["cuda"], options | ({"enable_cuda_graph": "1"} if graphs else {})


def _refuse_rivals() -> None:
    """Both packages fill one folder; with both, whichever came last is broken."""
    present = []
    for name in _RIVALS:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        present.append(name)
    if len(present) > 1:
        raise EngineError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
            hint="pip uninstall onnxruntime onnxruntime-gpu, then install the one you need: "
            "onnxruntime, or 'dlmkit[gpu]' for CUDA",
        )
