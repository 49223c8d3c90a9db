"""Decoding prompts on a bundle and on PyTorch, call by call and from end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from dlmkit.engine import LoadOptions, find_engine
from dlmkit.errors import RequestError
from dlmkit.generation import Runner
from dlmkit.models.loading import load_model
from dlmkit.models.reach import RopeScaling
from dlmkit.requirements import asked_of
from dlmkit.spec.load import read_component
from dlmkit_export.bundle.changes import rope_text
from dlmkit_export.bundle.manifest import MANIFEST, PROMPTS, read_manifest
from dlmkit_export.bundle.verify import record_of
from dlmkit_export.parity.certificate import Certificate, judge
from dlmkit_export.parity.paired import Comparison, PairedNetwork
from dlmkit_export.runtime.engine import OnnxRuntimeEngine

if TYPE_CHECKING:
    from dlmkit.engine import LoadedModel
    from dlmkit.spec import Document

__all__ = ["compare_bundle"]


def compare_bundle(
    folder: Path,
    document: Document,
    prompts: Sequence[str],
    *,
    model: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Certificate:
    """Compare a bundle with PyTorch over prompts and return the certificate.

    Each call of the reference's decode is put to both networks, so that one early difference
    does not hide what follows, and once more with each ability of the bundle; then the bundle
    decodes on its own.

    Args:
        folder: the bundle.
        document: the pipeline that decodes; it names one model.
        prompts: texts to decode.
        model: the checkpoint that the bundle was made from, if not the one it names.
        progress: told how many prompts are done, and of how many.

    Raises:
        RequestError: the pipeline has several models, or the checkpoint cannot be found.
    """
    reference, candidate = _models(folder, document, model)
    paired = PairedNetwork(reference.network, candidate.network)
    runners = [
        _runner(document, attrs.evolve(reference, network=paired)),
        _runner(document, candidate),
    ]
    equal = 0
    for number, prompt in enumerate(prompts, 1):
        first, second = (_tokens(runner, prompt) for runner in runners)
        equal += first == second
        progress(number, len(prompts))
    return _certificate(folder, document, paired.comparison, len(prompts), equal)


def _models(folder: Path, document: Document, model: str | None) -> tuple[LoadedModel, LoadedModel]:
    """The checkpoint on PyTorch and the bundle on ONNX Runtime, both on the CPU."""
    if len(document.models) > 1:
        raise RequestError(
            f"pipeline {document.name!r} has several models ({', '.join(document.models)})",
            hint="compare each bundle with a pipeline of one model, for example -p llada",
        )
    source, (name,) = read_manifest(folder).source, document.models
    wanted = LoadOptions(device="cpu", abilities=asked_of(document.pipeline, {name}))
    candidate = OnnxRuntimeEngine().load(str(folder), wanted)
    reference = _reference(folder, model)
    if reference.network.info.parameters != candidate.network.info.parameters:
        raise RequestError(
            f"{model or source.reference} is not what the bundle was made from: it has "
            f"{reference.network.info.parameters:,} parameters, the bundle "
            f"{candidate.network.info.parameters:,}",
            hint="name the checkpoint with --model",
        )
    return reference, candidate


def _reference(folder: Path, model: str | None) -> LoadedModel:
    """The checkpoint on PyTorch, changed as the bundle's network was."""
    manifest = read_manifest(folder)
    source = manifest.source
    text = None if source.rope is None else rope_text(source.rope)
    loaded = load_model(
        model or source.reference,
        device="cpu",
        dtype=str(manifest.network["dtype"]),
        revision=None if model else source.revision,
        rope=None if text is None else read_component(text, RopeScaling, "rope"),
    )
    if source.derivation is None:
        return loaded
    prompts = str(folder / PROMPTS) if source.derivation.prompt_tokens else None
    derivation = attrs.evolve(source.derivation, prompt_tokens=prompts)
    return find_engine("torch").derive(loaded, derivation)


def _runner(document: Document, model: LoadedModel) -> Runner:
    return Runner(document, dict.fromkeys(document.models, model))


def _tokens(runner: Runner, prompt: str) -> tuple[int, ...]:
    decode = runner.start(runner.encode([prompt]))
    for _ in decode:
        pass
    return decode.results()[0].token_ids


def _certificate(
    folder: Path, document: Document, comparison: Comparison, prompts: int, texts: int
) -> Certificate:
    return Certificate(
        against=f"torch {metadata.version('torch')}",
        candidate=f"onnxruntime {metadata.version('onnxruntime')}",
        pipeline=document.name,
        prompts=prompts,
        texts=texts,
        calls=comparison.calls,
        decisions=comparison.decisions,
        differing=comparison.differing,
        widest_margin=comparison.widest_margin,
        first=comparison.first,
        errors=dict(sorted(comparison.errors.items())),
        verdict=judge(comparison, texts_equal=texts == prompts),
        manifest=record_of(folder / MANIFEST).sha256,
    )
