"""Bundles of small networks, each made once in a test session."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dlmkit.engine import LoadOptions
from dlmkit_export.bundle.make import make_bundle
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_export.runtime.engine import OnnxRuntimeEngine
from dlmkit_strategies.families import FAMILIES, Sedd
from tests.models.checkpoints import STATED, folder
from tests.tiny_model import write_tiny_model

if TYPE_CHECKING:
    from dlmkit.engine import LoadedModel
    from dlmkit.network import Network

ROOM = tempfile.TemporaryDirectory(prefix="dlmkit-bundles-", ignore_cleanup_errors=True)


@functools.cache
def bundle(name: str, **options) -> Path:
    """The bundle of a reference checkpoint, of a built-in one, or of the tiny model."""
    path = Path(ROOM.name) / "-".join(
        [Path(name).name, *(f"{key}{value}" for key, value in options.items())]
    )
    return make(name, path, **options)


def make(name: str, path: Path, *, dtype: str = "float32", **options) -> Path:
    family = Sedd() if name == "sedd" else STATED.get(name)  # its files do not name it
    load = LoadOptions(dtype=dtype, families=FAMILIES, family=family)
    make_bundle(source(name), path, ExportOptions(**options), load)
    return path


def source(name: str) -> str:
    """How to refer to a checkpoint."""
    if name.startswith("builtin/"):
        return name
    if name != "tiny":
        return str(folder(name))
    path = Path(ROOM.name) / "tiny-checkpoint"
    return str(path if path.is_dir() else write_tiny_model(path))


def opened(path: Path, **options) -> LoadedModel:
    """A bundle on ONNX Runtime."""
    options.setdefault("device", "cpu")
    return OnnxRuntimeEngine(threads=1).load(str(path), LoadOptions(**options))


def network(name: str, **options) -> Network:
    return opened(bundle(name, **options)).network
