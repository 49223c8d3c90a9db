"""Checks of a verifier's pipeline, which is asked about several states of a draft at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.draft_verify.roles import Judge, Sight
from dlmkit.roles import CachePolicy, Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.identify import described, source_of
from dlmkit.spec.walk import first, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["VERIFIER_CHECKS"]


def _asked(root: Recipe) -> Iterator[tuple[Recipe, Recipe, Recipe]]:
    """Each verifier's pipeline, with the view that it is shown and the judge of what it says."""
    for procedure, view, judge in together(root, Sight, Judge):
        verifier = procedure.part("verifier")
        if verifier is not None:
            yield verifier, view, judge


def unshared_columns(root: Recipe) -> Iterator[Finding]:
    """States share a row of a pass, and the verifier's pipeline does not let them."""
    for pipeline, view, _ in _asked(root):
        if not view.component.columns:
            continue
        verifier = pipeline.component
        if verifier.cache is None or not (verifier.cache.exact() and verifier.cache.confined()):
            yield Finding(
                view,
                f"{view.title} shows all states in one row, which has to end where they do: what "
                "is known must be stored as it is",
                "write `cache: block-causal` in the verifier's pipeline, or use the view 'paths'",
            )
        mixing = [each.name for each in verifier.inputs if "mixed-inputs" in each.requires]
        for name in ([verifier.guide.name] if verifier.guide else []) + mixing:
            yield Finding(
                view,
                f"{view.title} feeds what states have in common once, and {name!r} needs a row of "
                "its own for each",
                "leave it out of the verifier's pipeline",
            )


def verifier_memory(root: Recipe) -> Iterator[Finding]:
    """The verifier's pipeline cannot be asked about states side by side."""
    for verifier, view, _ in _asked(root):
        causal = "causal" in view.component.requires
        for part in verifier.walk():
            why = _serial(part.component, causal=causal)
            if why:
                yield Finding(
                    part,
                    f"the verifier is asked about several states at once, and {part.title} {why}",
                    "leave it out of the verifier's pipeline",
                )
        if verifier.component.max_steps is not None:
            yield Finding(
                verifier,
                "max_steps counts steps in sequence, and the verifier is asked about several "
                "states at once",
                "leave it out, or set max_rounds",
                "max_steps",
            )


def _serial(component: object, *, causal: bool) -> str | None:
    """What keeps a part of the verifier from being asked out of sequence."""
    if isinstance(component, CachePolicy) and "layer-steps" in component.requires:
        return "runs each layer on what it gave for one state"
    if isinstance(component, CachePolicy):
        if component.exact() or not causal:
            return None
        return "approximates a network that sees both ways, not one that reads from the left"
    if isinstance(component, Strategy) and component.state:
        return "remembers earlier steps"
    if isinstance(component, Strategy) and component.role in ("revise", "length"):
        return "changes what was decided before"
    return None


def layered_shadows(root: Recipe) -> Iterator[Finding]:
    """Guesses are rated by shadows, and the layers of the verifier's cache read other positions."""
    for verifier, view, _ in _asked(root):
        shadows = view.component.needs().shadow
        for part in verifier.walk() if shadows else ():
            if isinstance(part.component, CachePolicy) and part.component.by_layer:
                yield Finding(
                    part,
                    f"{view.title} hides a guess from its shadow, and under {part.title} each "
                    "layer reads other positions",
                    "use a cache whose layers read the same, such as dual, or `view: states`",
                )


def leaping_cache(root: Recipe) -> Iterator[Finding]:
    """Steps are compared at which the verifier's cache would have known more."""
    for verifier, _, judge in _asked(root):
        cache = first(verifier, CachePolicy) if judge.component.needs_steps else None
        if cache is not None and not cache.component.forks():
            yield Finding(
                cache,
                f"{cache.title} stores and chooses by every pass, and {judge.title} compares steps "
                "from what was stored before the round: the text may differ from the verifier's "
                "own under this cache",
                "use a cache that stands still within a block, such as dual, free-cache or sparse",
            )


def wrong_attention(root: Recipe) -> Iterator[Finding]:
    """The view reads a network for what its attention does not give, where that is known."""
    for verifier, view, _ in _asked(root):
        known = described(source_of(root.component.models, verifier.component.home()))
        kind = known and known.arch.attention.kind
        problem = view.component.attention_problem(kind) if kind else None
        if problem:
            yield Finding(view, problem, "use another view, or another verifier")


VERIFIER_CHECKS = (
    Check("draft-columns", "error", unshared_columns),
    Check("draft-memory", "error", verifier_memory),
    Check("draft-shadows", "error", layered_shadows),
    Check("draft-cache", "warning", leaping_cache),
    Check("draft-attention", "error", wrong_attention),
)
"""The checks of this module, in the order in which they run."""
