"""Making a bundle from a checkpoint."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import onnx
import onnx_ir as ir

from dlmkit.errors import EngineError, RequestError
from dlmkit.models.derivation import EMBEDDINGS
from dlmkit.models.derive import derive_module
from dlmkit.models.loading import Checkpoint, load_checkpoint
from dlmkit_export.bundle.changes import as_in_spec
from dlmkit_export.bundle.manifest import PROMPTS, Graphs, Manifest, Source, network_facts
from dlmkit_export.bundle.verify import record_of
from dlmkit_export.bundle.weights_file import write_weights
from dlmkit_export.graph.score_pack import with_score_pack
from dlmkit_export.graph.trace import trace_network

if TYPE_CHECKING:
    from dlmkit.engine import LoadOptions
    from dlmkit.models.derivation import Derivation
    from dlmkit.models.reach import RopeScaling
    from dlmkit.models.text_module import TextModule
    from dlmkit_export.bundle.options import ExportOptions

__all__ = ["Stage", "make_bundle"]

_PACK_GRAPH, _LOGITS_GRAPH = "model.onnx", "logits.onnx"

Stage = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0: nobody knows)."""


def make_bundle(
    reference: str,
    folder: Path,
    options: ExportOptions,
    load: LoadOptions,
    stage: Stage = lambda what, done, total: None,
    derivation: Derivation | None = None,
) -> Manifest:
    """Export the model that `reference` names, or one derived from it, into a new folder.

    The folder appears when it is complete.  Two exports of one model are equal byte for byte.

    Raises:
        RequestError: the folder exists and is not empty.
        ModelError: the checkpoint cannot be read.
        EngineError: its network cannot be exported.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(
            f"{folder} exists already", hint="name a new folder, or remove that one first"
        )
    reading = attrs.evolve(
        load, device="cpu", progress=lambda done, total: stage("reading weights", done, total)
    )
    checkpoint = load_checkpoint(reference, reading)
    _refuse_untraceable(checkpoint, options)
    if derivation is not None:
        module = derive_module(checkpoint.decoder, derivation)
        checkpoint = attrs.evolve(checkpoint, decoder=module)
    source = _source(checkpoint, derivation, load.rope)
    with _arriving(folder) as room:
        if derivation is not None and derivation.prompt_file is not None:
            shutil.copyfile(derivation.prompt_file, room / PROMPTS)
        return _fill(room, checkpoint, source, options, stage)


def _refuse_untraceable(checkpoint: Checkpoint, options: ExportOptions) -> None:
    """A graph has no input for a noise level; without it, it would answer as for another level."""
    known, abilities = checkpoint.description, checkpoint.decoder.abilities
    named = f"{known.reference} (family {known.family.name})"
    if "noise-level" in abilities:
        raise EngineError(
            f"{named} predicts by the noise level of each row, which compiled networks are not "
            "told",
            hint="run it with --engine torch",
        )
    missing = [each for each in options.abilities if each not in abilities]
    if missing:
        raise EngineError(
            f"{named} cannot be exported with {' and '.join(missing)}: its network has nothing of "
            "that kind on any engine",
            hint=" ".join(("leave out", *(f"--with {each}" for each in missing))),
        )


@contextmanager
def _arriving(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes its place when that has succeeded."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield room
        room.chmod(0o755)
        room.replace(folder)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _fill(
    room: Path, checkpoint: Checkpoint, source: Source, options: ExportOptions, stage: Stage
) -> Manifest:
    known, facts = checkpoint.description, network_facts(checkpoint.network_info("onnx"))
    offered = Graphs(
        score_pack=_PACK_GRAPH,
        logits=_LOGITS_GRAPH if options.logits else None,
        candidates=options.candidates,
        opset=options.opset,
        cache_slots=options.cache_slots,
        abilities=options.abilities,
    )
    graphs = _traced(checkpoint.decoder, offered, stage)
    write_weights(
        tuple(graphs.values()), room, lambda done, total: stage("writing weights", done, total)
    )
    for number, (name, graph) in enumerate(graphs.items()):
        stage("checking graphs", number, len(graphs))
        ir.save(graph, room / name)
        onnx.checker.check_model(str(room / name), full_check=True)
    if known.tokenizer is not None:
        known.tokenizer.save(room)
    stage("computing digests", 0, 0)
    manifest = Manifest(
        graphs=offered,
        buckets=options.buckets,
        network=facts,
        source=source,
        versions={name: metadata.version(name) for name in ("dlmkit", "onnx", "torch")},
        files={path.name: record_of(path) for path in sorted(room.iterdir())},
    )
    manifest.write(room)
    return manifest


def _traced(decoder: TextModule, offered: Graphs, stage: Stage) -> dict[str, ir.Model]:
    """Every graph by the name of its file."""
    graphs, abilities = {}, (None, *offered.abilities)
    for number, ability in enumerate(abilities):
        stage("tracing the network", number, len(abilities) if offered.abilities else 0)
        network = trace_network(decoder, offered.opset, offered.cache_slots, ability)
        for packed in (True, False):
            name = offered.file(ability, packed=packed)
            if name is not None:
                graphs[name] = with_score_pack(network, offered.candidates) if packed else network
    return graphs


def _source(
    checkpoint: Checkpoint, derivation: Derivation | None, rope: RopeScaling | None
) -> Source:
    """Where the network came from, without the names of folders on this machine."""
    known = checkpoint.description
    ids = known.special_ids
    places: dict[str, Any] = {
        field: place.replace(f"{known.path}/", "") for field, place in ids.provenance.items()
    }
    is_folder = Path(known.reference).expanduser().is_dir()
    reference = known.path.name if is_folder else known.reference
    return Source(
        reference=reference,
        revision=known.revision,
        family=known.family.name,
        architecture=known.config.architecture,
        special_ids=attrs.evolve(ids, provenance=places),
        derivation=derivation and _told(derivation, reference),
        rope=None if rope is None else as_in_spec(rope),
    )


def _told(derivation: Derivation, reference: str) -> Derivation:
    """The derivation without names of folders, and layers in order."""
    prompts = derivation.prompt_tokens
    given = derivation.prompt_file
    is_own = given is not None and given.parent != EMBEDDINGS
    return attrs.evolve(
        derivation,
        source=reference,
        skip_layers=tuple(sorted(derivation.skip_layers)),
        prompt_tokens=given.name if given is not None and is_own else prompts,
    )
