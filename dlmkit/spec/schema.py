"""JSON Schema (draft-07) of specs, from the registry: names, options, types, descriptions."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Literal

from dlmkit.bundles import Bundle
from dlmkit.component import Component, Option, options_of, union_members
from dlmkit.roles import Procedure
from dlmkit.spec.bundles import BUNDLE
from dlmkit.spec.describe import summary
from dlmkit.spec.documents import FORMAT, Document
from dlmkit.spec.kinds import is_record, is_slot
from dlmkit.spec.names import DEFAULT_NAMES
from dlmkit.spec.write import plain

if typing.TYPE_CHECKING:
    from dlmkit.plugins.registry import Registry

__all__ = ["json_schema"]

SCALARS: dict[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "string",
    type(None): "null",
}


def json_schema(registry: Registry) -> dict[str, Any]:
    """Return the schema of pipeline documents for the components in a registry."""
    document = _object(Document, registry)
    document["properties"] = {
        "dlmkit": {"const": FORMAT, "description": "kind and version of the document"},
        **document["properties"],
    }
    document["required"] = ["dlmkit", *document["required"]]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"dlmkit {FORMAT}",
        **document,
        "definitions": {role: _role(role, registry) for role in registry.roles()},
    }


def _role(role: str, registry: Registry) -> dict[str, Any]:
    classes = [offer.cls for offer in registry.offers(role)]
    arms = [_component(cls, registry) for cls in classes]
    bare = [cls for cls in classes if cls.selector == "use" and not _required(cls)]
    if bare:
        names = [name for cls in bare for name in _names(cls, registry)]
        arms.insert(0, {"enum": names, "description": f"a {role} component without options"})
    return {"anyOf": arms}


def _component(cls: type[Component], registry: Registry) -> dict[str, Any]:
    schema = _object(cls, registry)
    selector = {"enum": _names(cls, registry), "description": summary(cls)}
    schema["properties"] = {cls.selector: selector, **schema["properties"]}
    if issubclass(cls, Procedure) and BUNDLE in registry.roles():
        _allow_bundle(schema)
    if DEFAULT_NAMES.get(cls.role) != cls.name:
        schema["required"] = [cls.selector, *schema["required"]]
    return schema


def _allow_bundle(schema: dict[str, Any]) -> None:
    """A bundle may give what is required otherwise."""
    arm = {"$ref": f"#/definitions/{BUNDLE}"}
    schema["properties"][BUNDLE] = {"description": summary(Bundle), **arm}
    schema["anyOf"] = [{"required": schema["required"]}, {"required": [BUNDLE]}]
    schema["required"] = []


def _names(cls: type[Component], registry: Registry) -> list[str]:
    offer = registry.offer_of(cls)
    qualified = [offer.qualified] if offer else []
    return list(dict.fromkeys([registry.spelling(cls), *qualified]))


def _required(cls: type[Any]) -> list[str]:
    return [each.key for each in options_of(cls) if each.required]


def _object(cls: type[Any], registry: Registry) -> dict[str, Any]:
    return {
        "type": "object",
        "description": summary(cls),
        "properties": {each.key: _option(each, registry) for each in options_of(cls)},
        "required": _required(cls),
        "additionalProperties": False,
    }


def _option(each: Option, registry: Registry) -> dict[str, Any]:
    schema = {"description": each.doc, **_type(each.type, registry)}
    if not each.required:
        schema["default"] = plain(each.default, registry)
    if each.examples:
        schema["examples"] = [plain(example, registry) for example in each.examples]
    return schema


def _type(kind: Any, registry: Registry) -> dict[str, Any]:
    arms = [arm for member in union_members(kind) for arm in _arms(member, registry)]
    return arms[0] if len(arms) == 1 else {"anyOf": arms}


def _arms(kind: Any, registry: Registry) -> list[dict[str, Any]]:
    """Every form in which one member of a type is written."""
    if kind in SCALARS:
        return [{"type": SCALARS[kind]}]
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return [{"enum": list(arguments)}]
    if typing.get_origin(kind) is tuple:
        return _list_arms(arguments, registry)
    if typing.get_origin(kind) is dict:
        return [{"type": "object", "additionalProperties": _type(arguments[1], registry)}]
    if is_record(kind):
        short = [{"type": "string"}] if getattr(kind, "shorthand", None) else []
        return [*short, _object(kind, registry)]
    known = is_slot(kind) and kind.role in registry.roles()
    return [{"$ref": f"#/definitions/{kind.role}"}] if known else [{"enum": []}]


def _list_arms(arguments: tuple[Any, ...], registry: Registry) -> list[dict[str, Any]]:
    if arguments[-1] is not Ellipsis:
        items = [_type(argument, registry) for argument in arguments]
        size = len(items)
        return [{"type": "array", "items": items, "minItems": size, "maxItems": size}]
    item = _type(arguments[0], registry)
    single = [item] if is_slot(arguments[0]) else []
    return [{"type": "array", "items": item}, *single]
