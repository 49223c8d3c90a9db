"""Overrides: `path=value` put into a document's tree before it is checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from dlmkit.spec.report import Mark, Problem, Source, SpecError
from dlmkit.spec.source import MappingNode, Node, ScalarNode, SequenceNode, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["apply_overrides"]

_MODEL_OPTION = 2
"""Steps to an option of a model: `models`, then its name."""

STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]+)\]")


@attrs.frozen
class _Step:
    """One step of a path: a key, or an index into a list."""

    key: str | int
    mark: Mark


def apply_overrides(
    root: MappingNode, overrides: Sequence[str]
) -> tuple[MappingNode, list[Problem]]:
    """Return the tree with the overrides in it, and what is wrong with them.

    Problems point into `--set #n`, counted from 1.
    """
    problems: list[Problem] = []
    for number, text in enumerate(overrides, start=1):
        source = Source(f"--set #{number}", text, order=number)
        try:
            steps, value = _parse(source, problems)
            model_at = _MODEL_OPTION if steps[0].key == "models" else None
            root = _put(root, steps, value, model_at=model_at)  # type: ignore[assignment]
        except SpecError as error:
            problems += error.problems
    return root, problems


def _parse(source: Source, problems: list[Problem]) -> tuple[list[_Step], Node]:
    path, equals, value = source.text.partition("=")
    if not equals:
        hint = "for example pipeline.transfer.threshold=0.85"
        raise SpecError([Problem(source.mark(0, 0), "an override is path=value", hint)])
    shifted = Source(source.name, " " * (len(path) + 1) + value)
    if not value.strip():
        mark = source.mark(0, len(path))
        raise SpecError([Problem(mark, "a value is missing after '='", "write null for none")])
    node, found = parse(shifted)
    problems += [attrs.evolve(each, mark=_moved(each.mark, source)) for each in found]
    return _steps(path, source), _relocate(node, source)


def _moved(mark: Mark | None, source: Source) -> Mark | None:
    return mark and attrs.evolve(mark, source=source)


def _relocate(node: Node, source: Source) -> Node:
    """Point the marks at the override as it was typed."""
    mark = attrs.evolve(node.mark, source=source)
    if isinstance(node, SequenceNode):
        return SequenceNode(mark, tuple(_relocate(each, source) for each in node.items), node.size)
    if isinstance(node, MappingNode):
        entries = {
            key: (attrs.evolve(at, source=source), _relocate(value, source))
            for key, (at, value) in node.entries.items()
        }
        return MappingNode(mark, entries, node.size)
    return ScalarNode(mark, node.value)


def _steps(path: str, source: Source) -> list[_Step]:
    steps: list[_Step] = []
    offset = 0
    while offset < len(path):
        if steps and path[offset] == ".":
            offset += 1
        found = STEP.match(path, offset)
        if found is None or (not steps and found[2]):
            hint = "a path looks like pipeline.exit[0].scope"
            raise SpecError([Problem(source.mark(0, offset), "not a path", hint)])
        steps.append(_Step(found[1] or int(found[2]), source.mark(0, offset)))
        offset = found.end()
    if not steps:
        hint = "for example pipeline.transfer.threshold=0.85"
        raise SpecError([Problem(source.mark(0, 0), "a path is missing before '='", hint)])
    return steps


def _put(
    node: Node | None, steps: Sequence[_Step], value: Node, *, model_at: int | None = None
) -> Node:
    """Return the tree with `value` at the end of the steps.

    `model_at` counts the steps to where bare text stands for a model and not for a component.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step.key, int):
        return _put_item(node, step, rest, value)
    mapping = _as_mapping(node, step, "repo" if model_at == 0 else "use")
    inner = _put(
        mapping.get(step.key), rest, value, model_at=None if model_at is None else model_at - 1
    )
    entries = {**mapping.entries, step.key: (step.mark, inner)}
    return MappingNode(mapping.mark, entries, mapping.size + inner.size)


def _put_item(node: Node | None, step: _Step, rest: Sequence[_Step], value: Node) -> Node:
    items = node.items if isinstance(node, SequenceNode) else ((node,) if node else ())
    index = int(step.key)
    if index >= len(items):
        count = f"{len(items)} {'item' if len(items) == 1 else 'items'}"
        raise SpecError([Problem(step.mark, f"there is no item [{index}]; the list has {count}")])
    inner = _put(items[index], rest, value)
    changed = (*items[:index], inner, *items[index + 1 :])
    mark = node.mark if node else step.mark
    return SequenceNode(mark, changed, 1 + sum(item.size for item in changed))


def _as_mapping(node: Node | None, step: _Step, selector: str) -> MappingNode:
    """Open a node for a key: a bare name becomes a mapping with that name."""
    if node is None:
        return MappingNode(step.mark, {})
    if isinstance(node, MappingNode):
        return node
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return MappingNode(node.mark, {selector: (node.mark, node)})
    if isinstance(node, ScalarNode) and node.value is None:
        return MappingNode(step.mark, {})
    what = "a list; choose an item, as in exit[0]" if isinstance(node, SequenceNode) else "a value"
    raise SpecError([Problem(step.mark, f"{step.key!r} cannot be set inside {what}")])
