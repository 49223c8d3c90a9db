"""Bundles that a spec wants changed: what to export instead, and how to name it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import attrs

from dlmkit.errors import EngineError
from dlmkit_export.contract import ABILITIES

if TYPE_CHECKING:
    from dlmkit.models.derivation import Derivation
    from dlmkit.models.reach import RopeScaling
    from dlmkit_export.bundle.manifest import Manifest

__all__ = ["refuse_derived_bundle", "refuse_missing", "refuse_other_rope"]


def refuse_derived_bundle(
    reference: str, manifest: Manifest | None, derivation: Derivation
) -> None:
    """Refuse to derive a model from a bundle, or from a checkpoint that is none (no manifest).

    Raises:
        EngineError: its hint holds the command that compiles the derived model.
    """
    from dlmkit_export.bundle.changes import changes_as_options, export_command

    if manifest is None:
        what = "ONNX Runtime runs bundles, and no model can be derived from one"
        options = shlex.join(("--model", reference, *changes_as_options(derivation, None)))
        command = f"dlmkit export {options} -o FOLDER"
    else:
        what = f"{reference} is compiled; no other model can be derived from it"
        command = export_command(manifest, derivation=derivation)
    raise EngineError(
        what,
        hint=f"compile that one: {command}; then name it in place of `derive`: "
        "{repo: FOLDER, engine: onnxruntime}",
    )


def refuse_other_rope(reference: str, manifest: Manifest, rope: RopeScaling) -> None:
    """Refuse a rotary embedding that a bundle was not compiled with.

    Raises:
        EngineError: its hint holds the command that compiles the network with it.
    """
    from dlmkit_export.bundle.changes import as_in_spec, export_command, rope_text

    written = as_in_spec(rope)
    if manifest.source.rope == written:
        return
    has = "no `rope`" if manifest.source.rope is None else f"rope {rope_text(manifest.source.rope)}"
    raise EngineError(
        f"{reference} is compiled with {has}; rope {rope_text(written)} cannot be chosen any more",
        hint=f"compile it again: {export_command(manifest, rope=rope)}; then name that: "
        "{repo: FOLDER, engine: onnxruntime}",
    )


def refuse_missing(abilities: frozenset[str], reference: str, manifest: Manifest) -> None:
    """Refuse a bundle that was compiled without one of the abilities that graphs may have.

    Raises:
        EngineError: its hint holds the command that compiles the network with them.
    """
    from dlmkit_export.bundle.changes import export_command
    from dlmkit_export.bundle.options import OPSETS

    graphs = manifest.graphs
    missing = [each for each in ABILITIES if each in abilities and each not in graphs.abilities]
    if missing:
        opset = graphs.opset if graphs.cache_slots is None else OPSETS[0]
        able = attrs.evolve(
            graphs, abilities=(*graphs.abilities, *missing), cache_slots=None, opset=opset
        )
        again = export_command(attrs.evolve(manifest, graphs=able))
        raise EngineError(
            f"{reference} is compiled without {' and '.join(missing)}",
            hint=f"compile it again: {again}; then name that, or use the engine torch",
        )
