"""Checks of a cache and the strategies beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import Blocks, CachePolicy, Reviser, Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import first, own, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["CACHE_CHECKS"]


def _beside_caches(root: Recipe) -> Iterator[tuple[Recipe, Recipe, bool]]:
    """Each cache with each strategy beside it, and whether that looks beyond the current block."""
    for procedure, cache in together(root, CachePolicy):
        blocks = first(procedure, Blocks)
        for part in own(procedure, Strategy):
            if part.component.role != "cache":
                yield cache, part, part.component.span == "region" and blocks is not None


def frozen_reopening(root: Recipe) -> Iterator[Finding]:
    """A reviser may put masks back where the cache keeps old keys and values."""
    for cache, part, whole in _beside_caches(root):
        frozen = cache.component.freezes()
        if part.component.reopens and (frozen == "tokens" or (frozen == "blocks" and whole)):
            what = "decided tokens" if frozen == "tokens" else "other blocks"
            yield Finding(
                part,
                f"{part.title} may put masks back, but {cache.title} freezes {what}",
                "use a cache that recomputes them, for example inside `refresh` with every: 1",
            )


def missing_predictions(root: Recipe) -> Iterator[Finding]:
    """A strategy reads predictions where the cache computes none."""
    for cache, part, whole in _beside_caches(root):
        given = cache.component.provides()
        decided = _looks_at_tokens(part.component) and given in ("undecided", "some")
        if given == "region" or not (decided or whole):
            continue
        where = "of decided tokens" if decided else "outside the current block"
        yield Finding(
            part,
            f"{part.title} reads predictions {where}, but {cache.title} does not compute them in "
            "every step",
            "use another cache, or none",
        )


def _looks_at_tokens(component: Strategy) -> bool:
    """Whether it reads what is predicted where tokens stand."""
    return component.needs().current or (isinstance(component, Reviser) and component.rewrites)


def false_agreement(root: Recipe) -> Iterator[Finding]:
    """A strategy compares steps whose predictions rest on the same stored values."""
    for cache, part, _ in _beside_caches(root):
        if part.component.history and not cache.component.exact():
            yield Finding(
                part,
                f"{part.title} compares steps, and {cache.title} makes them more alike than they "
                "are",
                "set its thresholds anew, or refresh the cache more often",
            )


def stale_mixtures(root: Recipe) -> Iterator[Finding]:
    """A mask is fed something new in each step, but the cache keeps it as it was."""
    for cache, part, _ in _beside_caches(root):
        if "mixed-inputs" in part.component.requires and cache.component.freezes() != "nothing":
            yield Finding(
                part,
                f"{part.title} changes what masks are fed, but {cache.title} may keep masks as "
                "they were",
                "use a cache that computes masks in every step, or none",
            )


def lonely_layers(root: Recipe) -> Iterator[Finding]:
    """A cache lets layers choose positions, and something else is to be fed or told in a pass."""
    for cache, part, _ in _beside_caches(root):
        needs = part.component.needs()
        more = needs.taps or "mixed-inputs" in part.component.requires
        more = more and "layer-steps" in cache.component.requires
        layered = any(getattr(each.component, "by_layer", False) for each in cache.walk())
        if more or (needs.shadow and layered):
            yield Finding(
                part,
                f"{part.title} has shadows or mixtures fed, or asks what attention saw, which "
                f"{cache.title} cannot do layer by layer",
                "use another cache, such as dual, or none",
            )


CACHE_CHECKS = (
    Check("C3", "error", frozen_reopening),
    Check("C4", "error", missing_predictions),
    Check("C5", "warning", false_agreement),
    Check("C12", "error", stale_mixtures),
    Check("layer-steps", "error", lonely_layers),
)
"""The checks of this module, in the order in which they run."""
