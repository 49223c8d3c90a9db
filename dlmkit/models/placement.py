"""Where and in which number format a model runs: `auto` and explicit choices, with reasons."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch

from dlmkit.errors import EngineError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlmkit.models.config import Config
    from dlmkit.models.tensor_files import StoredTensor

__all__ = ["choose_device", "choose_dtype"]

_DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def choose_device(wanted: str) -> torch.device:
    """Return the device called `wanted`; `auto` is CUDA where there is one, else the CPU.

    Raises:
        EngineError: the name is not a device, or this machine has no such device.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise EngineError(
            f"{wanted!r} is not a device", hint="use auto, cpu, cuda or cuda:N"
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise EngineError(f"device {wanted!r} is not supported", hint="use auto, cpu or cuda")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise EngineError(
            f"device {wanted!r} is not usable: this machine offers {count} CUDA devices",
            hint="use --device cpu, or see what `dlmkit doctor` finds",
        )
    return device


def choose_dtype(
    wanted: str, config: Config, tensors: Iterable[StoredTensor], device: torch.device
) -> tuple[torch.dtype, str]:
    """Return the number format to compute in, and why it was chosen.

    `auto` is what the config states, or else what most tensors are stored in; on the CPU, where
    half precision is slow, half formats become float32.

    Raises:
        ModelError: `wanted` is not one of the formats, or the config states an unknown one.
    """
    if wanted != "auto":
        return _named(wanted, "asked for"), "given by the user"
    stated = config.fields.get("dtype") or config.fields.get("torch_dtype")
    if stated is not None:
        dtype, reason = _named(str(stated), f"stated in {config.origin}"), "stated in the config"
    else:
        counts = Counter(stored.dtype for stored in tensors)
        dtype, reason = counts.most_common(1)[0][0], "as stored"
    if device.type == "cpu" and dtype.itemsize == 2:
        return torch.float32, f"{reason} as {str(dtype)[6:]}; float32 is faster on the CPU"
    return dtype, reason


def _named(name: str, where: str) -> torch.dtype:
    dtype = _DTYPES.get(name.removeprefix("torch."))
    if dtype is None:
        raise ModelError(
            f"dtype {name!r} ({where}) is unknown", hint=f"use auto, {', '.join(_DTYPES)}"
        )
    return dtype
