"""Promises that a class keeps without being called."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pluggy

from dlmkit.component import Component, options_of, problem_with
from dlmkit.loop.memory import parts
from dlmkit.plugins import Plugins, component_problems
from dlmkit.roles import Procedure
from dlmkit.spec import Document, load_spec
from dlmkit.spec.write import to_yaml
from dlmkit.testing.conformance.case import Check, require
from dlmkit.testing.conformance.pipelines import pipeline_around

__all__ = ["DECLARED"]

SOURCE = re.compile(r"\bSource:\s*\S|arXiv:\d{4}\.\d{4,5}|https?://")


def _documents_every_option(component: Component) -> None:
    problems = list(component_problems(type(component)))
    require(not problems, "; ".join(problems))


def _names_its_source(component: Component) -> None:
    if any(part.role == component.role for part in list(parts(component))[1:]):
        return  # what combines others of its kind: they name theirs
    text = type(component).__doc__ or ""
    require(
        SOURCE.search(text) is not None,
        "its docstring names no source; write `Source: …` with a paper, a repository or yourself",
    )


def _has_valid_options(component: Component) -> None:
    options = options_of(type(component))
    for each in options:
        values = [getattr(component, each.name)]
        values += [] if each.required else [each.default]
        for value in values:
            problem = problem_with(value, each.checks)
            require(problem is None, f"{each.name} = {value!r} {problem}")
    complete = {each.name: getattr(component, each.name) for each in options}
    problems = [f"{name} {message}" for name, message, _ in component.check_options(complete)]
    require(not problems, "; ".join(problems))


def _is_frozen(component: Component) -> None:
    for field in options_of(type(component)):
        try:
            setattr(component, field.name, getattr(component, field.name))
        except attrs.exceptions.FrozenInstanceError:
            continue
        require(False, f"option {field.name} can be changed; decorate the class @attrs.frozen")


def _equals_its_twin(component: Component) -> None:
    twin: Any = type(component)(
        **{each.name: getattr(component, each.name) for each in options_of(type(component))}
    )
    require(component == twin, "two objects with the same options are not equal")


def _survives_a_spec(component: Component) -> None:
    pipeline = (
        component if isinstance(component, Procedure) else pipeline_around(component, blocks=None)
    )
    document = Document(name="round-trip", gen_length=8, pipeline=pipeline)
    text = to_yaml(document)
    again = load_spec(text, plugins=_plugins_of(pipeline))
    require(again == document, f"its spec reads back as something else:\n{text}")


def _plugins_of(pipeline: Component) -> Plugins:
    """A registry of nothing but the classes in a tree, installed or not."""
    plugins = Plugins(pluggy.PluginManager("dlmkit"))
    for cls in {type(part) for part in parts(pipeline)}:
        plugins.registry.add(cls, "dlmkit")
    return plugins


DECLARED: dict[str, Check] = {
    "documents every option": _documents_every_option,
    "names its source": _names_its_source,
    "has valid options": _has_valid_options,
    "is frozen": _is_frozen,
    "equals its twin": _equals_its_twin,
    "survives a spec": _survives_a_spec,
}
