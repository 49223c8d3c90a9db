"""The safetensors files of a checkpoint: which tensors lie where, without reading any weight.

Nothing is unpickled.  Reading maps a file into memory: a tensor's pages are loaded when they
are first used, and shared with every other process that reads the same file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dlmkit.errors import ModelError
from dlmkit.models.config import read_json

__all__ = ["StoredTensor", "TensorReader", "list_tensors"]

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_REOPEN_AFTER = 32 * 2**20
"""Bytes read through one mapping before it is dropped together with its pages."""


@attrs.frozen
class StoredTensor:
    """A tensor in a file: everything about it except its values."""

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        count = 1
        for size in self.shape:
            count *= size
        return count * self.dtype.itemsize


def list_tensors(folder: Path) -> dict[str, StoredTensor]:
    """List every tensor of a checkpoint folder by name, from file headers alone.

    Raises:
        ModelError: no readable weights; a file is missing, truncated or corrupt; a tensor is
            stored twice, missing from its shard, or of a type that is not a plain float.
    """
    if (folder / _INDEX).is_file():
        return _sharded(folder)
    if (folder / _SINGLE).is_file():
        return {stored.name: stored for stored in _header(folder / _SINGLE)}
    pickles = sorted(path.name for kind in _PICKLES for path in folder.glob(kind))
    if pickles:
        raise ModelError(
            f"{folder} holds weights only as Python pickles ({', '.join(pickles[:3])}), which "
            "can run code when opened and are not read",
            hint="convert them once in an environment you trust: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            f"{_SINGLE!r})",
        )
    raise ModelError(
        f"{folder} holds no weights: neither {_SINGLE} nor {_INDEX}",
        hint="download the checkpoint again; an interrupted download leaves files out",
    )


def _sharded(folder: Path) -> dict[str, StoredTensor]:
    """Read the headers of all shards and compare them with the index."""
    index = folder / _INDEX
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise ModelError(f"{index} has no 'weight_map'", hint="download the index again")
    found: dict[str, StoredTensor] = {}
    for shard in sorted({str(file) for file in weight_map.values()}):
        path = folder / shard
        if Path(shard).name != shard or not path.is_file():
            raise ModelError(
                f"{index} names the file {shard!r}, which is not in {folder}",
                hint="download the missing file; all shards must lie beside the index",
            )
        for stored in _header(path):
            if stored.name in found:
                raise ModelError(
                    f"tensor {stored.name!r} is stored twice: in {found[stored.name].path.name} "
                    f"and in {shard}",
                    hint="remove the file that does not belong to this checkpoint",
                )
            found[stored.name] = stored
    _compare(index, weight_map, found)
    return found


def _compare(index: Path, weight_map: Mapping[str, str], found: Mapping[str, StoredTensor]) -> None:
    """Check that every tensor lies in the shard that the index names, and no other exists."""
    for name, shard in weight_map.items():
        if name not in found or found[name].path.name != shard:
            raise ModelError(
                f"{index} says that {shard} holds tensor {name!r}, but it does not",
                hint="index and shards are from different versions; download both again",
            )
    extra = sorted(set(found) - set(weight_map))
    if extra:
        raise ModelError(
            f"{found[extra[0]].path} holds tensor {extra[0]!r}, which {index.name} does not list",
            hint="index and shards are from different versions; download both again",
        )


def _header(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensors of one file; the library checks that the file is whole."""
    with _open(path) as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            piece = file.get_slice(name)
            code = piece.get_dtype()
            if code not in _DTYPES:
                raise ModelError(
                    f"{path}: tensor {name!r} has type {code}; only {', '.join(_DTYPES)} are read",
                    hint="use the unquantised release of this checkpoint",
                )
            yield StoredTensor(name, path, tuple(piece.get_shape()), _DTYPES[code])


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is not a complete safetensors file: {error}",
            hint="the file is truncated or damaged; download it again",
        ) from error


class TensorReader:
    """Hands out tensors as views of the mapped files.

    A view keeps its part of the mapping alive for as long as it is used.  Mappings are dropped
    regularly, so that pages of tensors which were copied elsewhere leave the process.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: safe_open | None = None
        self._read = 0

    def read(self, stored: StoredTensor) -> Tensor:
        """Return the tensor, in the file's type, mapped and not copied."""
        if self._file is None or stored.path != self._path or self._read > _REOPEN_AFTER:
            self._path, self._file, self._read = stored.path, _open(stored.path), 0
        self._read += stored.nbytes
        tensor: Tensor = self._file.get_tensor(stored.name)  # type: ignore[no-untyped-call]
        return tensor
