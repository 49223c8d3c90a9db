"""From nodes to components: strict types, no coercion, every problem in one go."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlmkit.bundles import Bundle
from dlmkit.component import Component, Option, options_of, problem_with
from dlmkit.roles import Procedure
from dlmkit.spec.bundles import BUNDLE, expanded
from dlmkit.spec.kinds import Accepts, accepts, describe, is_slot, item_type, show
from dlmkit.spec.names import NameFinder
from dlmkit.spec.recipe import Recipe, join
from dlmkit.spec.report import Mark, Problem, nearest, one_of
from dlmkit.spec.source import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlmkit.plugins.manager import Plugins

__all__ = ["build"]

FAILED: Any = object()
"""Stands for a value that a problem was reported about."""


class Builder:
    """Builds values from nodes; what is wrong goes to `problems`."""

    def __init__(self, plugins: Plugins) -> None:
        self.problems: list[Problem] = []
        self.names = NameFinder(plugins, self.problems)

    def value(self, node: Node, kind: Any, path: str, parts: list[Recipe]) -> Any:
        """Return the value of an option of that type, or FAILED."""
        wanted = accepts(kind)
        if isinstance(node, ScalarNode):
            return self._scalar(node, kind, wanted, path, parts)
        if isinstance(node, SequenceNode):
            return self._sequence(node, kind, wanted, path, parts)
        if wanted.mappings:
            return self._mapping(node, wanted.mappings[0], path, parts)
        inner = _single_item(wanted)
        if inner is not None:
            made = self.value(node, inner, path, parts)
            return FAILED if made is FAILED else (made,)
        for record in wanted.records[:1]:
            return self.record(node.entries, record, path, node.mark, parts)
        for base in wanted.slots[:1]:
            return self._slot(node, base, path, parts)
        return self._mismatch(node, kind, path)

    def _scalar(
        self, node: ScalarNode, kind: Any, wanted: Accepts, path: str, parts: list[Recipe]
    ) -> Any:
        value = node.value
        if value is None and wanted.none:
            return None
        if any(type(value) is type(each) and value == each for each in wanted.literals):
            return value
        for scalar in wanted.scalars:
            made = _as_scalar(value, scalar)
            if made is not FAILED:
                return made
        if isinstance(value, str):
            return self._text(node, kind, wanted, path, parts)
        only_slots = wanted.slots and not wanted.scalars
        hint = self.names.known(wanted.slots[0]) if only_slots else None
        return self._mismatch(node, kind, path, hint)

    def _text(
        self, node: ScalarNode, kind: Any, wanted: Accepts, path: str, parts: list[Recipe]
    ) -> Any:
        """Text stands for the component of that name, or a record's main option."""
        for base in wanted.slots:
            if base.selector == "use":
                return self._slot(node, base, path, parts)
        inner = _single_item(wanted)
        if inner is not None and inner.selector == "use":
            made = self._slot(node, inner, path, parts)
            return FAILED if made is FAILED else (made,)
        for record in wanted.records:
            if key := getattr(record, "shorthand", None):
                return self.record({key: (node.mark, node)}, record, path, node.mark, parts)
        guess = nearest(node.value, [each for each in wanted.literals if isinstance(each, str)])
        return self._mismatch(node, kind, path, f"did you mean {guess!r}?" if guess else None)

    def _sequence(
        self, node: SequenceNode, kind: Any, wanted: Accepts, path: str, parts: list[Recipe]
    ) -> Any:
        if not wanted.lists:
            if wanted.slots and not wanted.scalars:
                self.names.several(node.mark, wanted.slots[0], path)
                return FAILED
            return self._mismatch(node, kind, path)
        count, made = len(node.items), []
        for index, item in enumerate(node.items):
            inner = item_type(wanted.lists[0], index, count)
            if inner is None:
                return self._mismatch(node, kind, path, f"it has {count}")
            made.append(self.value(item, inner, f"{path}[{index}]", parts))
        return FAILED if any(item is FAILED for item in made) else tuple(made)

    def _mapping(self, node: MappingNode, kind: Any, path: str, parts: list[Recipe]) -> Any:
        inner = kind.__args__[1]
        made = {
            key: self.value(value, inner, join(path, key), parts)
            for key, (_, value) in node.entries.items()
        }
        return FAILED if any(item is FAILED for item in made.values()) else made

    def record(
        self,
        entries: Mapping[str, tuple[Mark, Node]],
        cls: type[Any],
        path: str,
        mark: Mark,
        parts: list[Recipe],
    ) -> Any:
        """Build an attrs class from its entries; a problem names `path`."""
        inner: list[Recipe] = []
        values = self._options(entries, cls, path, mark, inner)
        if values is FAILED or not self._fits(cls, values, entries, mark):
            return FAILED
        try:
            made = cls(**values)
        except (ValueError, TypeError) as error:
            self._report(mark, f"{path or 'the document'}: {error}")
            return FAILED
        marks = {key: value.mark for key, (_, value) in entries.items()}
        parts.append(Recipe(made, path, mark, marks, tuple(inner)))
        return made

    def _slot(self, node: Node, base: type[Component], path: str, parts: list[Recipe]) -> Any:
        cls = self.names.component(node, base, path)
        if cls is None:
            return FAILED
        entries = node.entries if isinstance(node, MappingNode) else {}
        options = {key: entry for key, entry in entries.items() if key != base.selector}
        if BUNDLE in options and issubclass(base, Procedure):
            options = self._unbundled(options, path)
            if options is FAILED:
                return FAILED
        return self.record(options, cls, path, node.mark, parts)

    def _unbundled(self, entries: dict[str, tuple[Mark, Node]], path: str) -> Any:
        """The entries of a procedure with its bundle expanded, or FAILED."""
        mark, node = entries.pop(BUNDLE)
        bundle = self._slot(node, Bundle, join(path, BUNDLE), [])
        if bundle is FAILED:
            return FAILED
        return expanded(bundle, mark, entries, self.names.registry, self.problems)

    def _options(
        self,
        entries: Mapping[str, tuple[Mark, Node]],
        cls: type[Any],
        path: str,
        mark: Mark,
        parts: list[Recipe],
    ) -> Any:
        known = {each.key: each for each in options_of(cls)}
        missing = {key for key, each in known.items() if each.required} - set(entries)
        values: dict[str, Any] = {}
        for key, (key_mark, node) in entries.items():
            if key in known:
                values[known[key].name] = self._option(node, known[key], join(path, key), parts)
            else:
                guess = nearest(key, set(known) - set(entries)) or nearest(key, known)
                missing.discard(guess or "")
                self._unknown_option(key, key_mark, cls, path, guess)
                values[key] = FAILED
        for key in known:
            if key in missing:
                self._report(mark, f"{_subject(cls, path)} needs {key!r}: {known[key].doc}")
        failed = missing or any(value is FAILED for value in values.values())
        return FAILED if failed else values

    def _option(self, node: Node, option: Option, path: str, parts: list[Recipe]) -> Any:
        made = self.value(node, option.type, path, parts)
        if made is FAILED:
            return FAILED
        problem = problem_with(made, option.checks)
        if problem:
            self._report(node.mark, f"{path} {problem}; got {_got(node)}")
            return FAILED
        return made

    def _unknown_option(
        self, key: str, mark: Mark, cls: type[Any], path: str, guess: str | None
    ) -> None:
        known = [each.key for each in options_of(cls)]
        hint = f"did you mean {guess!r}?" if guess else one_of(known)
        if not known:
            hint = "it takes no options"
        self._report(mark, f"{_subject(cls, path)} has no option {key!r}", hint)

    def _fits(
        self,
        cls: type[Any],
        values: Mapping[str, Any],
        entries: Mapping[str, tuple[Mark, Node]],
        mark: Mark,
    ) -> bool:
        """Run the component's own check of options that interact."""
        if not is_slot(cls):
            return True
        known = {each.name: each for each in options_of(cls)}
        complete = {name: values.get(name, each.default) for name, each in known.items()}
        before = len(self.problems)
        for name, message, hint in cls.check_options(complete):
            entry = entries.get(known[name].key)
            self._report(entry[1].mark if entry else mark, message, hint)
        return len(self.problems) == before

    def _mismatch(self, node: Node, kind: Any, path: str, hint: str | None = None) -> Any:
        where = path or "the document"
        self._report(node.mark, f"{where} must be {describe(kind)}; got {_got(node)}", hint)
        return FAILED

    def _report(self, mark: Mark, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(mark, message, hint))


def _single_item(wanted: Accepts) -> Any:
    """Item type of a list of slots, where one slot may stand for a list of one."""
    for each in wanted.lists:
        inner = item_type(each, 0, 1)
        if is_slot(inner):
            return inner
    return None


def _as_scalar(value: Any, kind: Any) -> Any:
    """Return the value as that scalar type, or FAILED; only integers widen, to numbers."""
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if kind is float and type(value) is float and not math.isfinite(value):
        return FAILED
    if kind is Path and type(value) is str:
        return Path(value)
    return value if type(value) is kind else FAILED


def _subject(cls: type[Any], path: str) -> str:
    name = getattr(cls, "name", "") if is_slot(cls) else ""
    where = path or "the document"
    return f"{where} ({name})" if name else where


def _got(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return show(node.value)
    if isinstance(node, SequenceNode):
        return "a list"
    return "a mapping"


def build(
    node: MappingNode, cls: type[Any], plugins: Plugins
) -> tuple[Recipe | None, list[Problem]]:
    """Build the record at the root of a document; the recipe is None when there are problems."""
    builder = Builder(plugins)
    parts: list[Recipe] = []
    builder.record(node.entries, cls, "", node.mark, parts)
    return (parts[0] if parts else None), builder.problems
