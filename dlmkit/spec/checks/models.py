"""Checks of a document's models: that they are there, and what each can be derived from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.component import options_of
from dlmkit.engine import find_engine
from dlmkit.errors import EngineError
from dlmkit.roles import Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.documents import ModelRef
from dlmkit.spec.identify import described
from dlmkit.spec.report import nearest
from dlmkit.spec.walk import own, procedures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.models.derivation import Derivation
    from dlmkit.spec.recipe import Recipe

__all__ = ["MODEL_CHECKS"]


def _models(root: Recipe) -> Iterator[Recipe]:
    return (part for part in root.parts if isinstance(part.component, ModelRef))


def _derivations(root: Recipe) -> Iterator[tuple[Recipe, Derivation, ModelRef]]:
    """Parts that derive a model from one that is loaded, with that one."""
    for part in _models(root):
        derive, inner = part.component.derive, part.part("derive")
        source = root.component.models.get(derive.source) if derive else None
        if derive is not None and inner is not None and source is not None and source.repo:
            yield inner, derive, source


def known(root: Recipe) -> Iterator[Finding]:
    """A procedure names a model that the document does not list."""
    models = root.component.models
    for part in procedures(root):
        name = part.component.home()
        if name in models:
            continue
        options = options_of(type(part.component))
        owner = next((o.key for o in options if getattr(part.component, o.name) == name), None)
        listed = ", ".join(sorted(models))
        yield Finding(part, f"`models` has no model {name!r}", f"known: {listed}", owner)


def origin(root: Recipe) -> Iterator[Finding]:
    """A model is neither loaded nor derived, or both."""
    for part in _models(root):
        ref = part.component
        if (ref.repo is None) == (ref.derive is None):
            both = "has both `repo` and `derive`" if ref.repo else "needs `repo` or `derive`"
            hint = "`repo` names a checkpoint, `derive` another model of the spec"
            yield Finding(part, f"{part.path} {both}", hint, "derive" if ref.repo else None)
        elif ref.derive is not None:
            yield from _ignored(part)


def _ignored(part: Recipe) -> Iterator[Finding]:
    """Options of loading, which a derived model inherits."""
    for each in attrs.fields(ModelRef):
        if each.name != "derive" and getattr(part.component, each.name) != each.default:
            message = f"{part.path} is derived, so {each.name!r} is that of its source"
            yield Finding(part, message, f"set it on {part.component.derive.source}", each.name)


def source(root: Recipe) -> Iterator[Finding]:
    """A model is derived from one that is not there, or not loaded."""
    models = root.component.models
    loaded = [name for name, ref in models.items() if ref.repo is not None]
    for part in _models(root):
        inner = part.part("derive")
        if inner is None or inner.component.source in loaded:
            continue
        name = inner.component.source
        what = f"derived itself: {name!r}" if name in models else f"no model of the spec: {name!r}"
        guess = nearest(name, loaded)
        hint = f"did you mean {guess!r}?" if guess else f"loaded are: {', '.join(sorted(loaded))}"
        yield Finding(inner, f"{inner.path}.from is {what}", hint, "from")


def derivable(root: Recipe) -> Iterator[Finding]:
    """The engine of the source cannot derive a model in that way."""
    for part, derive, ref in _derivations(root):
        engine = ref.engine or find_engine("torch")
        try:
            engine.refuse_derivation(ref.repo or "", derive)
        except EngineError as error:
            place = next((name for name in derive.asked if name not in engine.derives), "from")
            yield Finding(part, f"{part.path}: {error.args[0]}", error.hint, place)


def stretchable(root: Recipe) -> Iterator[Finding]:
    """The engine of a model cannot change its rotary embedding."""
    for part in _models(root):
        ref = part.component
        if ref.rope is None or ref.repo is None:
            continue
        try:
            (ref.engine or find_engine("torch")).refuse_rope(ref.repo, ref.rope)
        except EngineError as error:
            yield Finding(part, f"{part.path}.rope: {error.args[0]}", error.hint, "rope")


def layers(root: Recipe) -> Iterator[Finding]:
    """A layer to be left out does not exist, or none would be left."""
    for part, derive, ref in _derivations(root):
        read = described(ref) if derive.skip_layers else None
        if read is None:
            continue
        from dlmkit.models.derive import layers_problem  # torch is slow to import

        problem = layers_problem(derive.skip_layers, read.arch.layers)
        if problem:
            hint = f"{ref.repo} has {read.arch.layers} layers, counted from 0"
            yield Finding(part, f"{part.path}.skip_layers {problem}", hint, "skip_layers")


def prompts(root: Recipe) -> Iterator[Finding]:
    """A strategy feeds prompt tokens, and the model has none, or the file is not there."""
    for part, derive, _ in _derivations(root):
        if derive.prompt_file is not None and not derive.prompt_file.is_file():
            message = f"{part.path}.prompt_tokens: there is no file {derive.prompt_tokens!r}"
            yield Finding(part, message, "`builtin/guide`, or a path", "prompt_tokens")
    for procedure in procedures(root):
        ref = root.component.models.get(procedure.component.home())
        for part in () if ref is None or _has_prompts(ref) else own(procedure, Strategy):
            if "prompt-tokens" in part.component.requires:
                yield Finding(
                    part,
                    f"{part.title} feeds prompt tokens, and model {procedure.component.home()!r} "
                    "has none",
                    "derive it with some: `{derive: {from: base, prompt_tokens: builtin/guide}}`",
                )


def _has_prompts(ref: ModelRef) -> bool:
    if ref.derive is not None:
        return ref.derive.prompt_tokens is not None
    info = ref.engine.known_info(ref.repo or "") if ref.engine else None
    return info is not None and bool(info.prompt_ids)


MODEL_CHECKS = (
    Check("model", "error", known),
    Check("model-origin", "error", origin),
    Check("derive-source", "error", source),
    Check("derive-engine", "error", derivable),
    Check("rope-engine", "error", stretchable),
    Check("derive-layers", "error", layers),
    Check("prompt-tokens", "error", prompts),
)
"""Every check of models, in the order in which they run."""
