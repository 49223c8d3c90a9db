"""From Python objects to YAML: the shortest spec that reads back as the same object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dlmkit.component import Component, options_of
from dlmkit.plugins.manager import get_plugins
from dlmkit.spec.documents import FORMAT, Document
from dlmkit.spec.kinds import is_record
from dlmkit.spec.names import DEFAULT_NAMES
from dlmkit.spec.source import scalar_value

if TYPE_CHECKING:
    from dlmkit.plugins.registry import Registry

__all__ = ["plain", "to_yaml"]


def to_yaml(document: Document) -> str:
    """Write a document; reading the text gives an equal document.

    Options that have their default value are left out.
    """
    body = {"dlmkit": FORMAT, **_options(document, get_plugins().registry)}
    text: str = yaml.dump(
        body, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=98
    )
    return text


def plain(value: Any, registry: Registry) -> Any:
    """Return a value as the plain data that a spec holds."""
    if isinstance(value, Component):
        return _slot(value, registry)
    if is_record(type(value)):
        return _record(value, registry)
    if isinstance(value, tuple | list):
        return [plain(item, registry) for item in value]
    if isinstance(value, dict):
        return {key: plain(item, registry) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _slot(component: Component, registry: Registry) -> Any:
    name, options = registry.spelling(type(component)), _options(component, registry)
    if DEFAULT_NAMES.get(component.role) == name:
        return options or name
    if not options and component.selector == "use":
        return name
    return {component.selector: name, **options}


def _record(value: Any, registry: Registry) -> Any:
    options, shorthand = _options(value, registry), getattr(value, "shorthand", None)
    return options[shorthand] if shorthand and set(options) == {shorthand} else options


def _options(value: Any, registry: Registry) -> dict[str, Any]:
    return {
        each.key: plain(getattr(value, each.name), registry)
        for each in options_of(type(value))
        if each.required or getattr(value, each.name) != each.default
    }


class _Dumper(yaml.SafeDumper):
    """Quotes the text that our reader would take for something else; writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = None if isinstance(scalar_value(value), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
