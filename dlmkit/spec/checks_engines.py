"""Checks of strategies against the engine and the model that they are used with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlmkit.engine import find_engine
from dlmkit.errors import DlmkitError
from dlmkit.requirements import ABILITIES, attention_problem
from dlmkit.roles import Blocks, Reviser, Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.documents import default_models
from dlmkit.spec.walk import first, own, procedures, simple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.models.arch import AttentionPattern
    from dlmkit.models.config import Config
    from dlmkit.models.family import ModelFamily
    from dlmkit.spec.documents import ModelRef
    from dlmkit.spec.recipe import Recipe

__all__ = ["ENGINE_CHECKS"]


def _with_models(root: Recipe) -> Iterator[tuple[Recipe, ModelRef]]:
    """Each procedure with the loaded model whose tokens it decodes."""
    models = root.component.models
    for procedure in procedures(root):
        ref = models.get(procedure.component.home())
        if ref is not None and ref.derive is not None:
            ref = models.get(ref.derive.source)
        if ref is not None:
            yield procedure, ref


def _used_with(root: Recipe) -> Iterator[tuple[Recipe, ModelRef]]:
    """Each strategy or procedure that requires something, with the model that it is used with."""
    for procedure, ref in _with_models(root):
        for part in (procedure, *own(procedure, Strategy)):
            if part.component.requires:
                yield part, ref


def engine_abilities(root: Recipe) -> Iterator[Finding]:
    """A strategy needs what the model's engine does not offer."""
    for part, ref in _used_with(root):
        wanted = part.component.requires & ABILITIES
        if not wanted:
            continue
        engine = ref.engine or find_engine("torch")
        missing = ", ".join(sorted(wanted - engine.abilities()))
        if missing:
            yield Finding(
                part,
                f"{part.title} needs {missing}, which engine {engine.name!r} does not "
                "offer as it is set here",
                "use the torch engine without `compile`, or another strategy",
            )


def attention(root: Recipe) -> Iterator[Finding]:
    """A strategy is for another kind of attention than the model's, where that is known."""
    for part, ref in _used_with(root):
        pattern = _pattern(ref)
        problem = attention_problem(part.component, pattern) if pattern else None
        if problem:
            yield Finding(part, problem, "use another one, or a model that it is for")


def unseen_blocks(root: Recipe) -> Iterator[Finding]:
    """A strategy looks at blocks that the model predicts from undecided text."""
    for procedure, ref in _with_models(root):
        pattern = _pattern(ref) if first(procedure, Blocks) else None
        causal = pattern is not None and pattern.kind == "block-causal"
        for part in simple(procedure, Strategy) if causal else ():
            if part.component.span == "region":
                yield Finding(
                    part,
                    f"{part.title} reads predictions outside the block; this model's attention is "
                    "block-causal, so those of later blocks rest on undecided text",
                    "use one that reads the block alone",
                )


def untrained_editing(root: Recipe) -> Iterator[Finding]:
    """A reviser replaces tokens, which the model was not trained for."""
    for procedure, ref in _with_models(root):
        rewriting = [part for part in simple(procedure, Reviser) if part.component.rewrites]
        named = _named(ref) if rewriting else None
        if named is None or named[1].edits:
            continue
        for part in rewriting:
            yield Finding(
                part,
                f"{part.title} replaces decided tokens, which models of the family "
                f"{named[1].name!r} were not trained for",
                "use a model that was, such as LLaDA2.1, or a reviser that puts masks back",
            )


def unlooped(root: Recipe) -> Iterator[Finding]:
    """A procedure refines latents, which the model does not have."""
    for procedure, ref in _with_models(root):
        named = _named(ref) if "latents" in procedure.component.requires else None
        if named is not None and not named[1].looped:
            yield Finding(
                procedure,
                f"procedure {procedure.component.name!r} refines latent states, which models of "
                f"the family {named[1].name!r} do not have",
                "use a looped model (family 'looped'), or `use: denoise`",
            )


def _pattern(ref: ModelRef) -> AttentionPattern | None:
    """The attention of a named checkpoint, where it is known."""
    named = _named(ref)
    try:
        return named[1].arch(named[0]).attention if named else None
    except DlmkitError:
        return None  # loading will say what is wrong with the model


def _named(ref: ModelRef) -> tuple[Config, ModelFamily] | None:
    """Config and family of a named checkpoint on this machine; None where they cannot be read.

    A document without a model of its own, such as a preset, is judged when it is run with one.
    """
    from dlmkit.models.config import read_config
    from dlmkit.models.family import find_family
    from dlmkit.models.reference import locate_model
    from dlmkit.plugins import get_plugins  # plugins name strategies, which checks are about

    if ref.repo is None or ref == default_models()["main"]:
        return None
    try:
        folder = locate_model(ref.repo, revision=ref.revision, local_files_only=True).path
        config = read_config(folder)
        known: Any = get_plugins().registry.of_role("family").values()
        return config, ref.family or find_family(config, known)
    except DlmkitError:
        return None  # loading will say what is wrong with the model


ENGINE_CHECKS = (
    Check("engine", "error", engine_abilities),
    Check("C11", "error", attention),
    Check("C13", "error", unseen_blocks),
    Check("C20", "warning", untrained_editing),
    Check("latents", "error", unlooped),
)
"""Checks of strategies against engine and model."""
