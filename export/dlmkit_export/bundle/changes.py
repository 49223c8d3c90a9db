"""Changes to a network before it is compiled: as a spec says them, and as `dlmkit export` does."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import yaml

from dlmkit.models.derivation import Derivation
from dlmkit.plugins import get_plugins
from dlmkit.spec.write import plain
from dlmkit_export.bundle.options import OPSETS, ExportOptions

if TYPE_CHECKING:
    from dlmkit.models.reach import RopeScaling
    from dlmkit_export.bundle.manifest import Graphs, Manifest

__all__ = ["as_in_spec", "changes_as_options", "export_command", "rope_text"]


def as_in_spec(rope: RopeScaling) -> Any:
    """The plain data that a spec holds for it."""
    return plain(rope, get_plugins().registry)


def rope_text(written: Any) -> str:
    """That data on one line: `{use: ntk, context: 1024}`."""
    if isinstance(written, str):
        return written
    ordered = {"use": written["use"], **written}
    text: str = yaml.safe_dump(ordered, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip()


def export_command(
    manifest: Manifest, *, derivation: Derivation | None = None, rope: RopeScaling | None = None
) -> str:
    """The command that makes such a bundle again, of a network with these changes too."""
    source = manifest.source
    words = ["dlmkit", "export", "--model", source.reference, *_as_made(manifest)]
    layers = int(manifest.network["layers"])
    written = source.rope if rope is None else as_in_spec(rope)
    words += changes_as_options(_joined(source.derivation, derivation, layers), written)
    return shlex.join([*words, "-o", "FOLDER"])


def changes_as_options(derivation: Derivation | None, rope: Any) -> Iterator[str]:
    """The options of `dlmkit export` for changes; `rope` as in a spec."""
    if derivation is not None and derivation.skip_layers:
        yield from ("--skip-layers", ",".join(map(str, sorted(derivation.skip_layers))))
    if derivation is not None and derivation.prompt_tokens:
        yield from ("--prompt-tokens", derivation.prompt_tokens)
    if rope is not None:
        yield from ("--rope", rope_text(rope))


def _joined(first: Derivation | None, then: Derivation | None, layers: int) -> Derivation:
    """Both at once; the layers of the second are those that the first has left."""
    before, after = first or Derivation(source="-"), then or Derivation(source="-")
    whole = range(layers + len(before.skip_layers))
    left = [layer for layer in whole if layer not in before.skip_layers]
    skipped = {left[layer] for layer in after.skip_layers if layer < len(left)}
    return attrs.evolve(
        before,
        skip_layers=tuple(sorted(skipped.union(before.skip_layers))),
        prompt_tokens=after.prompt_tokens or before.prompt_tokens,
    )


def _as_made(manifest: Manifest) -> Iterator[str]:
    """The options with which a bundle was made, where they are not the usual ones."""
    ids = manifest.source.special_ids
    if manifest.source.revision:
        yield from ("--revision", manifest.source.revision)
    if ids.provenance.get("mask_id") == "given by the user":
        yield from ("--mask-id", str(ids.mask_id))
    if manifest.network["dtype"] != "float32":
        yield from ("--dtype", str(manifest.network["dtype"]))
    yield from _offering(manifest.graphs)
    for name, sizes in manifest.buckets.as_json().items():
        if sizes:
            yield from ("--buckets", f"{name}={','.join(map(str, sizes))}")


def _offering(graphs: Graphs) -> Iterator[str]:
    """The options for graphs like these."""
    if graphs.cache_slots is not None:
        yield from ("--in-place", str(graphs.cache_slots))
    elif graphs.opset != OPSETS[0]:
        yield from ("--opset", str(graphs.opset))
    if graphs.candidates != ExportOptions().candidates:
        yield from ("--score-pack", str(graphs.candidates))
    if graphs.logits is None:
        yield "--no-logits"
    for ability in graphs.abilities:
        yield from ("--with", ability)
