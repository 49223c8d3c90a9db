"""The canonical form of a document: what counts, in one spelling, and its hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlmkit.component import Component, options_of, union_members
from dlmkit.plugins.hookspecs import PROJECT
from dlmkit.plugins.manager import get_plugins
from dlmkit.spec.documents import FORMAT, Document, ModelRef
from dlmkit.spec.kinds import is_record

if TYPE_CHECKING:
    from dlmkit.plugins.registry import Registry

__all__ = ["canonical", "spec_id"]


def spec_id(document: Document) -> str:
    """Return the SHA-256 of the document's canonical form, as hexadecimal text."""
    plain = canonical(document, get_plugins().registry)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def canonical(document: Document, registry: Registry) -> dict[str, Any]:
    """Return what decides the tokens as plain data, defaults filled in, versions included."""
    models = {name: _model(ref, registry) for name, ref in document.models.items()}
    return {
        "dlmkit": FORMAT,
        "gen_length": document.gen_length,
        "models": models,
        "pipeline": _plain(document.pipeline, None, registry),
    }


def _model(ref: ModelRef, registry: Registry) -> dict[str, Any]:
    """What of a model decides the tokens; what is seldom named only where it is."""
    plain = {"repo": ref.repo, "revision": ref.revision, "mask_id": ref.mask_id}
    stated = {"family": ref.family, "derive": ref.derive, "rope": ref.rope}
    named = {key: value for key, value in stated.items() if value is not None}
    return plain | {key: _plain(value, None, registry) for key, value in named.items()}


def _plain(value: Any, kind: Any, registry: Registry) -> Any:
    if isinstance(value, Component):
        head = {value.selector: _name(value, registry), "version": value.version}
        return head | _options(value, registry)
    if is_record(type(value)):
        return _options(value, registry)
    if isinstance(value, tuple):
        return [_plain(item, _item_kind(kind), registry) for item in value]
    if type(value) is int and float in union_members(kind) and int not in union_members(kind):
        return float(value)
    return str(value) if isinstance(value, Path) else value


def _options(value: Any, registry: Registry) -> dict[str, Any]:
    return {
        each.key: _plain(getattr(value, each.name), each.type, registry)
        for each in options_of(type(value))
    }


def _item_kind(kind: Any) -> Any:
    for member in union_members(kind):
        if getattr(member, "__origin__", None) is tuple:
            return member.__args__[0]
    return None


def _name(component: Component, registry: Registry) -> str:
    """The bare name, with its distribution where that is not this project."""
    offer = registry.offer_of(type(component))
    foreign = offer is not None and offer.distribution != PROJECT
    return offer.qualified if offer is not None and foreign else component.name
