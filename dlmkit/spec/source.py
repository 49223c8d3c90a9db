"""From text to located nodes: strict YAML with the scalars of the YAML 1.2 core schema.

`1e-3` is a number, `on` is text, `017` is seventeen, there are no dates and no sexagesimals.
Duplicate keys, tags and merge keys are problems.  Aliases share the node of their anchor and so
keep its position.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
import yaml

from dlmkit.spec.report import Mark, Problem, Source, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MappingNode", "Node", "ScalarNode", "SequenceNode", "parse"]

MAX_NODES = 20_000
"""Nodes of a document with aliases written out; far above any real spec."""
MAX_DEPTH = 64

NULL = re.compile(r"null|Null|NULL|~|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
MAX_DIGITS = 300
"""Longer digit strings stay text, so that the type check reports them."""


@attrs.frozen
class ScalarNode:
    """A single value: None, a bool, an int, a float or text."""

    mark: Mark
    value: Any

    @property
    def size(self) -> int:
        """Nodes in this tree."""
        return 1


@attrs.frozen
class SequenceNode:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]
    size: int = 1


@attrs.frozen
class MappingNode:
    """A mapping: for each key its own position and its value."""

    mark: Mark
    entries: dict[str, tuple[Mark, Node]]
    size: int = 1

    def get(self, key: str) -> Node | None:
        """Return the value of a key, or None."""
        return self.entries[key][1] if key in self.entries else None


Node = ScalarNode | SequenceNode | MappingNode


def parse(source: Source) -> tuple[Node, list[Problem]]:
    """Read one YAML document.

    Returns the tree and the problems that do not hide its structure (duplicate keys and such).

    Raises:
        SpecError: when the text is not YAML, empty, or more than one document.
    """
    reader = _Reader(source)
    try:
        return reader.document(), reader.problems
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(source, error)]) from None
    except yaml.reader.ReaderError as error:
        message = f"the character {chr(error.character)!r} is not allowed"
        raise SpecError([Problem(source.mark_at(error.position), message)]) from None


def _syntax_problem(source: Source, error: yaml.MarkedYAMLError) -> Problem:
    at = error.problem_mark or error.context_mark
    mark = source.mark(at.line, at.column) if at else source.mark(0, 0)
    text = error.problem or error.context or "cannot be read"
    hint = "indent with spaces, never with tabs" if "'\\t'" in text else error.context
    return Problem(mark, f"not valid YAML: {text}", hint)


class _Reader:
    """Turns the parser's events into nodes, with every limit applied on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}
        self.events: Iterator[Any] = yaml.parse(source.text, Loader=yaml.SafeLoader)

    def document(self) -> Node:
        """Read the only document."""
        event = next(event for event in self.events if not isinstance(event, yaml.StreamStartEvent))
        if isinstance(event, yaml.StreamEndEvent):
            raise SpecError([Problem(self.source.mark(0, 0), "the document is empty")])
        root = self._node(next(self.events), 0)
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise SpecError([Problem(self._mark(event), "a file holds one document only")])
        return root

    def _mark(self, event: Any) -> Mark:
        return self.source.mark(event.start_mark.line, event.start_mark.column)

    def _node(self, event: Any, depth: int) -> Node:
        mark = self._mark(event)
        if depth > MAX_DEPTH:
            raise SpecError([Problem(mark, f"nested more than {MAX_DEPTH} levels deep")])
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, mark)
        if event.tag is not None:
            self._report(mark, "tags (!...) are not supported", "remove the tag")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node = self._untagged(event, mark, depth)
        if node.size > MAX_NODES:
            message = f"more than {MAX_NODES} values once aliases are expanded"
            raise SpecError([Problem(mark, message)])
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _untagged(self, event: Any, mark: Mark, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            return ScalarNode(mark, scalar_value(event.value) if plain else event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(mark, depth)
        return self._mapping(mark, depth)

    def _alias(self, event: yaml.AliasEvent, mark: Mark) -> Node:
        if event.anchor not in self.anchors:
            raise SpecError([Problem(mark, f"nothing is anchored as &{event.anchor} before this")])
        node = self.anchors[event.anchor]
        if node is None:
            raise SpecError([Problem(mark, f"*{event.anchor} refers to a value that contains it")])
        return node

    def _sequence(self, mark: Mark, depth: int) -> SequenceNode:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return SequenceNode(mark, tuple(items), 1 + sum(item.size for item in items))

    def _mapping(self, mark: Mark, depth: int) -> MappingNode:
        entries: dict[str, tuple[Mark, Node]] = {}
        size = 1
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self.events), depth + 1)
            size += value.size + 1
            if self._key_is_usable(key, entries):
                entries[str(key.value)] = (key.mark, value)  # type: ignore[union-attr]
        return MappingNode(mark, entries, size)

    def _key_is_usable(self, key: Node, entries: dict[str, tuple[Mark, Node]]) -> bool:
        if not isinstance(key, ScalarNode) or not isinstance(key.value, str):
            self._report(key.mark, "a key must be text", "put it in quotes")
            return False
        if key.value == "<<":
            self._report(key.mark, "merge keys (<<) are not supported", "write the values out")
            return False
        if key.value in entries:
            line = entries[key.value][0].line
            self._report(key.mark, f"duplicate key {key.value!r}", f"first given on line {line}")
            return False
        return True

    def _report(self, mark: Mark, message: str, hint: str) -> None:
        self.problems.append(Problem(mark, message, hint))


def scalar_value(text: str) -> Any:
    """Return the value of a plain scalar by the YAML 1.2 core schema."""
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text.lower() == "true"
    if len(text) > MAX_DIGITS:
        return text
    if INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)
    if FLOAT.fullmatch(text):
        return float(text)
    if SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text
