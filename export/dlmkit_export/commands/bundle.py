"""`dlmkit bundle`: look into bundles and check them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dlmkit_export.bundle.manifest import Manifest

__all__ = ["bundle"]


@click.group("bundle")
def bundle() -> None:
    """Look into bundles, the folders that `dlmkit export` writes."""


@bundle.command("inspect")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def inspect(folder: Path, *, as_json: bool) -> None:
    """Say what FOLDER holds.  Reads no weights."""
    from dlmkit_export.bundle.manifest import read_manifest

    manifest = read_manifest(folder)
    if as_json:
        click.echo(json.dumps(manifest.as_json(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for line in (*_lines(manifest), *_parity_lines(folder)):
        table.add_row(*line)
    Console(highlight=False).print(table)


@bundle.command("verify")
@click.argument("folder", type=click.Path(path_type=Path))
def verify(folder: Path) -> None:
    """Compare every file of FOLDER with the manifest's digests."""
    from dlmkit_export.bundle.manifest import read_manifest
    from dlmkit_export.bundle.verify import verify_bundle
    from dlmkit_export.progress import stage_bar

    manifest = read_manifest(folder)
    with stage_bar(f"verifying {folder}") as stage:
        verify_bundle(folder, manifest, lambda done, total: stage("reading", done, total))
    click.echo(f"{folder}: all {len(manifest.files)} files are as they were written")


def _lines(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Label and value."""
    from dlmkit_export.bundle.changes import rope_text

    source, graphs, network = manifest.source, manifest.graphs, manifest.network
    revision = f" at {source.revision}" if source.revision else ""
    pattern = network["attention"]
    size = sum(record.bytes for record in manifest.files.values())
    yield "made from", f"{source.reference}{revision} (family {source.family})"
    if source.derivation is not None:
        yield "derived", source.derivation.text
    if source.rope is not None:
        yield "rope", rope_text(source.rope)
    yield "made with", ", ".join(f"{name} {text}" for name, text in manifest.versions.items())
    yield "network", f"{network['parameters']:,} parameters, {network['layers']} layers"
    yield "number format", str(network["dtype"])
    yield (
        "attention",
        pattern["kind"] + (f", blocks of {pattern['block']}" * bool(pattern["block"])),
    )
    yield "context limit", f"{network['max_positions']:,} tokens"
    yield (
        "graphs",
        f"opset {graphs.opset}; score pack of {graphs.candidates} candidates"
        + (", and logits" if graphs.logits else "; no logits"),
    )
    yield "abilities", ", ".join(graphs.abilities) or "none"
    yield (
        "cache",
        "read, any number of slots"
        if graphs.cache_slots is None
        else f"written in place, {graphs.cache_slots:,} slots",
    )
    for name, sizes in manifest.buckets.as_json().items():
        yield f"buckets, {name}", ", ".join(map(str, sizes)) or "any size"
    yield "files", f"{len(manifest.files)}, {size / 2**20:.1f} MiB"


def _parity_lines(folder: Path) -> Iterator[tuple[str, str]]:
    from dlmkit_export.commands.parity import certificate_lines
    from dlmkit_export.parity.certificate import read_certificate

    certificate = read_certificate(folder)
    if certificate is None:
        yield "parity", f"never compared; see `dlmkit parity {folder}`"
    elif not certificate.holds_for(folder):
        yield "parity", f"out of date: the bundle has changed; see `dlmkit parity {folder}`"
    else:
        yield from certificate_lines(certificate)
