"""One file of weights for all graphs of a bundle, written one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

__all__ = ["WEIGHTS", "write_weights"]

WEIGHTS = "weights.bin"

_PARAMETERS = "decoder."
"""How the names of a network's own tensors begin, which are the same in every graph of it."""

_SMALL = 256
"""Bytes below which a tensor stays in the graph."""

_ALIGNMENT = 64

Progress = Callable[[int, int], None]


def write_weights(
    models: Sequence[ir.Model], folder: Path, progress: Progress | None = None
) -> None:
    """Write the large tensors of all graphs, each once, and refer to the file instead.

    Those of the network go by their names; other names mean nothing beyond their graph.  No more
    than one tensor is held in memory beside the network's own.
    """
    values: dict[str | int, list[ir.Value]] = {}
    for model in models:
        for name, value in model.graph.initializers.items():
            if value.const_value is not None and value.const_value.nbytes >= _SMALL:
                key = name if name.startswith(_PARAMETERS) else id(value.const_value)
                values.setdefault(key, []).append(value)
    total = sum(_tensor(same).nbytes for same in values.values())
    done = 0
    with (folder / WEIGHTS).open("wb") as file:
        for same in values.values():
            tensor = _tensor(same)
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            stored = ir.ExternalTensor(
                WEIGHTS,
                file.tell(),
                tensor.nbytes,
                tensor.dtype,
                shape=tensor.shape,
                name=str(same[0].name),
                base_dir=folder,
            )
            file.write(tensor.tobytes())
            for value in same:
                value.const_value = stored
            done += tensor.nbytes
            if progress is not None:
                progress(done, total)


def _tensor(same: Sequence[ir.Value]) -> Any:
    return same[0].const_value
