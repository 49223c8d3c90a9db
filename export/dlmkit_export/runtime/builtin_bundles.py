"""Bundles of the built-in checkpoints: made when they are first used, kept for the user."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import attrs
import platformdirs

from dlmkit.builtin import checkpoint_path
from dlmkit.engine import LoadOptions
from dlmkit.errors import RequestError
from dlmkit_export.bundle.manifest import FORMAT, MANIFEST
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_export.contract import CONTRACT_VERSION
from dlmkit_export.progress import stage_bar

__all__ = ["PREFIX", "builtin_bundle", "cache_folder"]

PREFIX = "builtin/"

_MAKER = Path(__file__).parents[1] / "graph"
"""The code that makes graphs."""


def cache_folder() -> Path:
    """The folder of this user for things that can be made again."""
    return Path(platformdirs.user_cache_dir("dlmkit"))


def builtin_bundle(reference: str, dtype: str, abilities: Iterable[str] = ()) -> Path:
    """Return the bundle of a built-in checkpoint, after making it if there is none yet.

    It has just the `abilities` that are asked for.  Its name depends on these, on the weights and
    on what made it, so that an update makes a new one.

    Raises:
        ModelError: there is no such checkpoint, or its weights are not installed.
    """
    name, options = reference.removeprefix(PREFIX), ExportOptions(abilities=abilities)
    folder = cache_folder() / "bundles" / f"{name}-{_key(checkpoint_path(name), dtype, options)}"
    if not (folder / MANIFEST).is_file():
        from dlmkit_export.bundle.make import make_bundle  # the exporter is slow to import

        try:
            with stage_bar(f"compiling {reference}, once") as stage:
                make_bundle(reference, folder, options, LoadOptions(dtype=dtype), stage)
        except (OSError, RequestError):
            if not (folder / MANIFEST).is_file():  # no other process was quicker
                raise
    return folder


def _key(checkpoint: Path, dtype: str, options: ExportOptions) -> str:
    made_with = (dtype, FORMAT, CONTRACT_VERSION, attrs.asdict(options))
    digest = hashlib.sha256(repr(made_with).encode())
    for package in ("dlmkit", "onnx", "onnxscript", "torch"):
        digest.update(metadata.version(package).encode())
    for path in (*sorted(_MAKER.glob("*.py")), *sorted(checkpoint.iterdir())):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
