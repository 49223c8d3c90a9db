"""Every published method can be run by name: its components stand in a preset."""

from __future__ import annotations

from typing import Any

from dlmkit.component import Component
from dlmkit.plugins import get_plugins
from dlmkit.spec import load_spec
from dlmkit.spec.recipe import recipe_of

ROLES = (
    "blocks", "inputs", "guide", "logits", "sample", "confidence", "exit", "transfer", "guard",
    "revise", "length", "stop", "procedure", "rope",
)  # fmt: skip
PIECES = {
    ("confidence", "given-order"): "an order of your own is no method",
    ("guard", "at-least"): "a floor to build with",
    ("guard", "at-most"): "a cap to build with",
    ("guard", "matching"): "a constraint says something about one text",
    ("logits", "matching"): "a constraint says something about one text",
}
"""Components that are no published method, or need what only a user knows."""
COMBINATORS = {"union", "intersect", "fallback", "chain", "when"}


def standing_in(name: str) -> set[tuple[str, str]]:
    """Role and name of everything in a preset, what its models are loaded with included."""
    document = load_spec(name)
    parts = [each.component for each in recipe_of(document.pipeline, "pipeline").walk()]
    found: list[Any] = [*parts, *(ref.rope for ref in document.models.values())]
    return {(each.role, each.name) for each in found if isinstance(each, Component)}


def test_every_component_stands_in_a_preset() -> None:
    """Or says here why not."""
    plugins = get_plugins()
    used = set().union(*(standing_in(name) for name in plugins.presets))
    offered = {
        (role, offer.cls.name)
        for role in ROLES
        for offer in plugins.registry.offers(role)
        if offer.cls.name not in COMBINATORS
    }
    assert PIECES.keys() == offered - used
