"""Descriptions of components and presets, for listings and editors."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.bundles import Bundle
from dlmkit.component import Component, Option, options_of
from dlmkit.spec.kinds import describe
from dlmkit.spec.report import Source
from dlmkit.spec.source import MappingNode, ScalarNode, parse
from dlmkit.spec.write import plain

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from dlmkit.plugins import Registry

__all__ = ["component_facts", "preset_summary", "summary"]


def summary(cls: type[Any]) -> str:
    """First paragraph of the class's docstring, on one line."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def preset_summary(file: Traversable) -> str:
    """The preset's description, on one line."""
    root, _ = parse(Source(file.name, file.read_text(encoding="utf-8")))
    node = root.get("description") if isinstance(root, MappingNode) else None
    return " ".join(str(node.value).split()) if isinstance(node, ScalarNode) else ""


def component_facts(cls: type[Component], registry: Registry) -> dict[str, Any]:
    """Everything there is to say about a component, as plain data."""
    offer = registry.offer_of(cls)
    return {
        "role": cls.role,
        "name": registry.spelling(cls),
        "version": cls.version,
        "distribution": offer.distribution if offer else None,
        "doc": inspect.cleandoc(cls.__doc__ or ""),
        "options": [_option_facts(each, registry) for each in options_of(cls)],
        **_expansion(cls, registry),
    }


def _expansion(cls: type[Component], registry: Registry) -> dict[str, Any]:
    """What a bundle stands for with its default options."""
    if not issubclass(cls, Bundle) or any(each.required for each in options_of(cls)):
        return {}
    slots = cls().slots().items()
    return {"expands": {name: plain(value, registry) for name, value in slots}}


def _option_facts(each: Option, registry: Registry) -> dict[str, Any]:
    required = each.default is attrs.NOTHING
    return {
        "name": each.key,
        "type": describe(each.type),
        "required": required,
        "default": None if required else plain(each.default, registry),
        "doc": each.doc,
        "examples": [plain(example, registry) for example in each.examples],
    }
