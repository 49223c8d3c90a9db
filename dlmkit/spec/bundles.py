"""Bundles in a spec: the name is replaced by the slots that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlmkit.component import Component
from dlmkit.spec.report import Mark, Problem
from dlmkit.spec.source import MappingNode, Node, ScalarNode, SequenceNode
from dlmkit.spec.write import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlmkit.bundles import Bundle
    from dlmkit.plugins.registry import Registry

__all__ = ["BUNDLE", "expanded"]

BUNDLE = "bundle"
"""The key beside a procedure's slots."""


def expanded(
    bundle: Bundle,
    mark: Mark,
    entries: Mapping[str, tuple[Mark, Node]],
    registry: Registry,
    problems: list[Problem],
) -> dict[str, tuple[Mark, Node]]:
    """Return the entries of a procedure with a bundle's slots in them, at the bundle's place.

    A slot that takes one component and is given twice is a problem, at the entry itself (C1).
    """
    merged = dict(entries)
    for key, value in bundle.slots().items():
        given = entries.get(key)
        if given is None:
            merged[key] = (mark, _node(plain(value, registry), mark))
        elif isinstance(value, tuple):
            theirs = _node(plain(value, registry), mark)
            merged[key] = (given[0], _joined(theirs, given[1]))
        elif isinstance(value, Component):
            message = f"bundle {bundle.name!r} fills the slot {key!r} itself"
            hint = f"leave {key!r} out, set the options of the bundle, or use no bundle"
            problems.append(Problem(given[0], message, hint, check="C1"))
    return merged


def _joined(first: Node, second: Node) -> SequenceNode:
    """Both lists as one; a single component stands for a list of one."""
    items = [
        item
        for node in (first, second)
        for item in (node.items if isinstance(node, SequenceNode) else (node,))
    ]
    return SequenceNode(second.mark, tuple(items))


def _node(value: Any, mark: Mark) -> Node:
    """Plain data as nodes, all at one place."""
    if isinstance(value, dict):
        entries = {key: (mark, _node(item, mark)) for key, item in value.items()}
        return MappingNode(mark, entries)
    if isinstance(value, list):
        return SequenceNode(mark, tuple(_node(item, mark) for item in value))
    return ScalarNode(mark, value)
