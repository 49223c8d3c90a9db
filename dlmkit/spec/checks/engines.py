"""Checks of strategies against the engine and the model that they are used with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.engine import find_engine
from dlmkit.errors import DlmkitError, EngineError
from dlmkit.requirements import (
    LEFT_TO_RIGHT,
    abilities_of,
    attention_problem,
    reading_problem,
    without,
)
from dlmkit.roles import Blocks, CachePolicy, Reviser, Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.identify import identify, loops, source_of
from dlmkit.spec.walk import first, own, procedures, simple, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.models.arch import AttentionPattern
    from dlmkit.spec.documents import ModelRef
    from dlmkit.spec.recipe import Recipe

__all__ = ["ENGINE_CHECKS"]


def _with_models(root: Recipe) -> Iterator[tuple[Recipe, ModelRef]]:
    """Each procedure with the loaded model whose tokens it decodes."""
    for procedure in procedures(root):
        ref = source_of(root.component.models, procedure.component.home())
        if ref is not None:
            yield procedure, ref


def _used_with(root: Recipe) -> Iterator[tuple[Recipe, ModelRef]]:
    """Each strategy or procedure that requires something, with the model that it is used with."""
    for procedure, ref in _with_models(root):
        for part in (procedure, *own(procedure, Strategy)):
            if part.component.requires or abilities_of(part.component):
                yield part, ref


def engine_abilities(root: Recipe) -> Iterator[Finding]:
    """A strategy needs what the model's engine does not offer."""
    for part, ref in _used_with(root):
        wanted = abilities_of(part.component)
        if not wanted:
            continue
        engine = ref.engine or find_engine("torch")
        missing = wanted - engine.abilities()
        if missing:
            yield Finding(
                part,
                f"{part.title} needs {', '.join(sorted(missing))}, which engine {engine.name!r} "
                f"does not offer as it is set here: {without(missing)}",
                "use the torch engine without `compile`, or another strategy",
            )
            continue
        try:
            engine.refuse_unable(ref.repo or "", wanted)
        except EngineError as error:
            yield Finding(part, f"{part.title} needs more: {error.args[0]}", error.hint)


def attention(root: Recipe) -> Iterator[Finding]:
    """A strategy is for another kind of attention than the model's, where that is known."""
    for part, ref in _used_with(root):
        pattern = _pattern(ref)
        problem = attention_problem(part.component, pattern) if pattern else None
        if problem:
            yield Finding(part, problem, "use another one, or a model that it is for")


def masks_in_sight(root: Recipe) -> Iterator[Finding]:
    """A causal model is asked for positions behind masks."""
    for procedure, ref in _with_models(root):
        pattern = _pattern(ref)
        problem = reading_problem(procedure.component, pattern) if pattern else None
        if problem:
            yield Finding(procedure, problem, LEFT_TO_RIGHT)


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
        named = identify(ref) if rewriting else None
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
        named = identify(ref) if "latents" in procedure.component.requires else None
        if named is not None and not named[1].looped:
            yield Finding(
                procedure,
                f"procedure {procedure.component.name!r} refines latent states, which models of "
                f"the family {named[1].name!r} do not have",
                "use a looped model (family 'looped'), or `use: denoise`",
            )


def looped_store(root: Recipe) -> Iterator[Finding]:
    """A cache reads keys and values of one recurrence, and a looped model has some in each."""
    for procedure, cache in together(root, CachePolicy):
        if loops(root.component.models, procedure.component.home()):
            yield Finding(
                cache,
                f"{cache.title} stores keys and values of the last recurrence, and whole passes "
                "of a looped model read those of each: with the cache it decides otherwise",
                "leave the cache out where the text has to be that of whole passes",
            )


def _pattern(ref: ModelRef) -> AttentionPattern | None:
    """The attention of a named checkpoint, or of what its engine runs, where it is known."""
    known = ref.engine.known_info(ref.repo) if ref.engine and ref.repo else None
    if known is not None:
        return known.attention
    named = identify(ref)
    try:
        return named[1].arch(named[0]).attention if named else None
    except DlmkitError:
        return None  # loading will say what is wrong with the model


ENGINE_CHECKS = (
    Check("engine", "error", engine_abilities),
    Check("C11", "error", attention),
    Check("left-to-right", "error", masks_in_sight),
    Check("C13", "error", unseen_blocks),
    Check("C20", "warning", untrained_editing),
    Check("latents", "error", unlooped),
    Check("looped-cache", "warning", looped_store),
)
"""Checks of strategies against engine and model."""
