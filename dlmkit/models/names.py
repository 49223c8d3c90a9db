"""Mapping tensor names of a checkpoint's files to the shared decoder's parameter names.

A family states its layout as an ordered list of rules; the first rule whose pattern matches a
name decides.  Patterns are literal text with placeholders: `{layer}` and `{expert}` stand for
numbers, `{tail}` for any text, and a placeholder keeps its value on the other side of the rule.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import attrs

__all__ = ["Drop", "NameMap", "Piece", "Rename", "SplitRows", "Stack"]

_PLACEHOLDERS = {
    "{layer}": r"(?P<layer>\d+)",
    "{expert}": r"(?P<expert>\d+)",
    "{tail}": r"(?P<tail>.+)",
}


@attrs.frozen
class Piece:
    """Where (part of) a file's tensor goes: a parameter, and the rows that are taken.

    `rows` is a half-open range over the first dimension; None takes the whole tensor.  `slot` is
    the place along the parameter's own first dimension; None fills the whole parameter.
    """

    parameter: str
    rows: tuple[int, int] | None = None
    slot: int | None = None


@attrs.frozen
class Rename:
    """A tensor that is stored as the decoder holds it, under another (or the same) name."""

    source: str
    target: str


@attrs.frozen
class SplitRows:
    """A tensor whose rows are several parameters, one after the other (fused q, k and v).

    `rows[i]` rows go to `targets[i]`.
    """

    source: str
    targets: tuple[str, ...]
    rows: tuple[int, ...]


@attrs.frozen
class Stack:
    """Tensors of one shape, numbered by `{expert}`, that the decoder holds in one parameter."""

    source: str
    target: str


@attrs.frozen
class Drop:
    """A tensor that is recomputed or not needed; consumed without a destination."""

    source: str


@attrs.frozen
class NameMap:
    """Ordered rules from names in files to names of parameters."""

    rules: Sequence[Rename | SplitRows | Stack | Drop]

    def pieces(self, source: str) -> tuple[Piece, ...] | None:
        """Return where the tensor called `source` goes; empty to drop it, None if unknown."""
        for rule in self.rules:
            values = _match(rule.source, source)
            if values is None:
                continue
            match rule:
                case Rename():
                    return (Piece(_fill(rule.target, values)),)
                case SplitRows():
                    return _split(rule, values)
                case Stack():
                    return (Piece(_fill(rule.target, values), slot=int(values["expert"])),)
                case Drop():
                    return ()
        return None

    def to_source(self, parameter: str, slot: int = 0) -> str:
        """Return the name under which files of this layout store `parameter`.

        The first rule that produces the parameter decides, so a family lists its published
        layout before the variants that it also accepts.  `slot` says which of the tensors that
        are stacked in the parameter is meant.

        Raises:
            KeyError: no rule produces `parameter`.
        """
        for rule in self.rules:
            for target in _targets(rule):
                values = _match(target, parameter)
                if values is not None:
                    return _fill(rule.source, {**values, "expert": str(slot)})
        raise KeyError(parameter)


def _targets(rule: Rename | SplitRows | Stack | Drop) -> tuple[str, ...]:
    """Parameters that a rule produces."""
    match rule:
        case Rename() | Stack():
            return (rule.target,)
        case SplitRows():
            return rule.targets
        case Drop():
            return ()


def _split(rule: SplitRows, values: dict[str, str]) -> tuple[Piece, ...]:
    """Turn row counts into row ranges."""
    pieces, start = [], 0
    for target, count in zip(rule.targets, rule.rows, strict=True):
        pieces.append(Piece(_fill(target, values), (start, start + count)))
        start += count
    return tuple(pieces)


def _match(pattern: str, name: str) -> dict[str, str] | None:
    found = _compiled(pattern).fullmatch(name)
    return found.groupdict() if found else None


def _fill(pattern: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        pattern = pattern.replace("{" + key + "}", value)
    return pattern


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern)
    for placeholder, group in _PLACEHOLDERS.items():
        text = text.replace(re.escape(placeholder), group, 1)
    return re.compile(text)
