"""Bundles of the built-in checkpoints: made when they are first used, kept for the user."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import platformdirs

from dlmkit.builtin import PREFIX, checkpoint_path
from dlmkit.engine import LoadOptions
from dlmkit.errors import RequestError
from dlmkit.models.derivation import Derivation
from dlmkit_export.bundle.changes import as_in_spec
from dlmkit_export.bundle.manifest import FORMAT, MANIFEST
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_export.bundle.verify import record_of
from dlmkit_export.contract import ABILITIES, CONTRACT_VERSION
from dlmkit_export.progress import stage_bar

if TYPE_CHECKING:
    from dlmkit.models.reach import RopeScaling

__all__ = ["builtin_bundle", "cache_folder"]

_MAKER = Path(__file__).parents[1] / "graph"
"""The code that makes graphs."""


def cache_folder() -> Path:
    """The folder of this user for things that can be made again."""
    return Path(platformdirs.user_cache_dir("dlmkit"))


def builtin_bundle(
    reference: str, options: LoadOptions, derivation: Derivation | None = None
) -> Path:
    """Return the bundle of a built-in checkpoint, after making it if there is none yet.

    It has just the abilities that are asked for.  Its name depends on these, on the weights, on how
    they are changed, and on what made it, so that an update makes a new one.  Of the options
    `abilities`, `dtype` and `rope` count.

    Raises:
        ModelError: there is no such checkpoint, its weights are not installed, or they cannot be
            changed so.
    """
    name, load = reference.removeprefix(PREFIX), _that_count(options)
    form = ExportOptions(abilities=options.abilities.intersection(ABILITIES))
    key = _key(checkpoint_path(name), load, form, derivation)
    folder = cache_folder() / "bundles" / f"{name}-{key}"
    if not (folder / MANIFEST).is_file():
        from dlmkit_export.bundle.make import make_bundle  # the exporter is slow to import

        try:
            changed = f" {derivation.text}" if derivation else ""
            with stage_bar(f"compiling {reference}{changed}, once") as stage:
                make_bundle(reference, folder, form, load, stage, derivation)
        except (OSError, RequestError):
            if not (folder / MANIFEST).is_file():  # no other process was quicker
                raise
    return folder


def _that_count(options: LoadOptions) -> LoadOptions:
    return LoadOptions(dtype=options.dtype, rope=options.rope)


def _key(
    checkpoint: Path, load: LoadOptions, form: ExportOptions, derivation: Derivation | None
) -> str:
    made_with = (load.dtype, FORMAT, CONTRACT_VERSION, attrs.asdict(form))
    digest = hashlib.sha256(repr((made_with, *_changes(load.rope, derivation))).encode())
    for package in ("dlmkit", "onnx", "onnxscript", "torch"):
        digest.update(metadata.version(package).encode())
    for path in (*sorted(_MAKER.glob("*.py")), *sorted(checkpoint.iterdir())):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _changes(rope: RopeScaling | None, derivation: Derivation | None) -> tuple[Any, ...]:
    """What identifies the changes to a network; prompt tokens by their content."""
    changed = derivation or Derivation(source="itself")
    file = changed.prompt_file
    prompts = record_of(file).sha256 if file is not None and file.is_file() else None
    stretched = rope and (as_in_spec(rope), rope.version)
    return stretched, sorted(changed.skip_layers), prompts
