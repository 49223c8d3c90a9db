"""Checking a bundle before anything of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from dlmkit.errors import ModelError
from dlmkit_export.bundle.manifest import FileRecord

if TYPE_CHECKING:
    from dlmkit_export.bundle.manifest import Manifest

__all__ = ["record_of", "verify_bundle"]

_CHUNK = 2**22

Progress = Callable[[int, int], None]


def verify_bundle(folder: Path, manifest: Manifest, progress: Progress | None = None) -> None:
    """Compare every file with the manifest; `progress` is told bytes read and bytes in all.

    Raises:
        ModelError: a file is missing, truncated or altered, or a graph reads from elsewhere.
    """
    total = sum(record.bytes for record in manifest.files.values())
    done = 0
    for name, record in manifest.files.items():
        path = _inside(folder, name)
        _compare_size(path, record)
        if record_of(path).sha256 != record.sha256:
            raise ModelError(
                f"{path} is not the file that the manifest describes: its digest differs",
                hint="copy the bundle again, or make it again with `dlmkit export`",
            )
        done += record.bytes
        if progress is not None:
            progress(done, total)
    for graph in manifest.graphs.files():
        _check_locations(folder, graph, manifest)


def record_of(path: Path) -> FileRecord:
    """Return size and digest of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileRecord(size, digest.hexdigest())


def _inside(folder: Path, name: str) -> Path:
    """Return the file of that name if it lies in the folder itself, links followed."""
    path = folder / name
    if Path(name).name != name or path.resolve().parent != folder.resolve():
        raise ModelError(
            f"{folder} refers to {name!r}, which lies outside of it",
            hint="do not use this bundle unless you know why; a bundle holds all of its files",
        )
    return path


def _compare_size(path: Path, record: FileRecord) -> None:
    if not path.is_file():
        raise ModelError(
            f"{path} is missing", hint="copy the bundle again; all of its files are needed"
        )
    size = path.stat().st_size
    if size != record.bytes:
        what = "truncated" if size < record.bytes else "too long"
        raise ModelError(
            f"{path} is {what}: {size} bytes, but the manifest says {record.bytes}",
            hint="copy the bundle again, or make it again with `dlmkit export`",
        )


def _check_locations(folder: Path, graph: str, manifest: Manifest) -> None:
    """Refuse weights outside the files that the manifest lists."""
    path = _inside(folder, graph)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # the parser raises nothing more precise
        raise ModelError(
            f"{path} is not an ONNX graph: {error}", hint="make it again with `dlmkit export`"
        ) from error
    for location in _locations(model.graph):
        _inside(folder, location)
        if location not in manifest.files:
            raise ModelError(
                f"{path} reads weights from {location!r}, which the manifest does not list",
                hint="do not use this bundle; make it again with `dlmkit export`",
            )


def _locations(graph: onnx.GraphProto) -> Iterator[str]:
    """Files that tensors of a graph, or of graphs within its nodes, are stored in."""
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _locations(inner)
    for tensor in tensors:
        yield from (entry.value for entry in tensor.external_data if entry.key == "location")
