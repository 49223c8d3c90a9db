"""Regular expressions as automata over bytes, and JSON schemas as regular expressions.

Expressions are parsed by interegular, which builds automata over characters; a token may end inside
a character, so these become automata over the bytes of UTF-8.

Legend: Q states (the last one is dead), T the 256 bytes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.errors import RequestError

__all__ = ["ByteAutomaton", "byte_automaton", "regex_of_schema"]

_At = tuple[int, bytes, int]
"""A state between bytes: one of the character automaton, the bytes of a character that is begun,
and how many must follow if it may be any character that the expression does not name (else 0)."""


@attrs.frozen(eq=False)
class ByteAutomaton:
    """`next_QT` int64 is the state after each byte, and `accepting` lists where a text may end.

    It starts in state 0.
    """

    next_QT: Tensor
    accepting: tuple[int, ...]


def byte_automaton(pattern: str) -> ByteAutomaton:
    """Build the automaton of a whole-text match.

    Raises:
        RequestError: the expression is malformed or not regular, or interegular is not installed.
    """
    interegular = _installed("interegular")
    try:
        machine = interegular.parse_pattern(pattern).to_fsm().reduce()
    except Exception as error:  # the library raises plain exceptions too
        raise RequestError(
            f"the regular expression {pattern!r} cannot be used: {error}",
            hint="back references are not regular; the syntax is that of Python's re",
        ) from None
    return _Bytes(machine, _installed("interegular.fsm").anything_else).explore()


def regex_of_schema(schema: str) -> str:
    """The regular expression of the JSON texts that a schema allows, with at most one space.

    Raises:
        RequestError: the schema is not JSON or uses what cannot be expressed, or outlines-core is
            not installed.
    """
    converter = _installed("outlines_core.json_schema")
    try:
        return str(converter.build_regex_from_schema(schema))
    except (ValueError, TypeError) as error:
        raise RequestError(
            f"the JSON schema cannot be used: {error}",
            hint="give one JSON object; recursive schemas cannot be turned into an expression",
        ) from None


def _installed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0].replace("_", "-")
        raise RequestError(
            f"constraints need the package {package}, which is not installed",
            hint="pip install 'dlmkit[constraints]'",
        ) from None


class _Bytes:
    """Turns an automaton over characters into one over bytes."""

    def __init__(self, machine: Any, other: Any) -> None:
        self._machine, self._other = machine, machine.alphabet[other]
        named = (each for each in machine.alphabet if isinstance(each, str) and each > "\x7f")
        spelled = [each.encode("utf-8", "surrogatepass") for each in named]
        self._begun = {each[:size] for each in spelled for size in range(1, len(each))}

    def explore(self) -> ByteAutomaton:
        """Number the states that can be reached, in the order in which they are met."""
        waiting: list[_At] = [(self._machine.initial, b"", 0)]
        numbers, table = {waiting[0]: 0}, []
        for state in waiting:  # which grows
            leads = [self._step(state, byte) for byte in range(256)]
            for to in leads:
                if to is not None and to not in numbers:
                    numbers[to] = len(numbers)
                    waiting.append(to)
            table.append([-1 if to is None else numbers[to] for to in leads])
        dead = len(numbers)
        rows = [[dead if to < 0 else to for to in row] for row in table]
        finals = ((final, b"", 0) for final in self._machine.finals)
        accepting = tuple(sorted(numbers[each] for each in finals if each in numbers))
        return ByteAutomaton(torch.tensor([*rows, [dead] * 256]), accepting)

    def _step(self, state: _At, byte: int) -> _At | None:
        at, begun, missing = state
        if missing:
            return (at, b"", missing - 1) if 0x80 <= byte <= 0xBF else None
        spelled = begun + bytes([byte])
        length = _length(spelled[0])
        if length == 0 or (begun and not 0x80 <= byte <= 0xBF):
            return None
        if len(spelled) == length:
            return self._after(at, self._machine.alphabet[spelled.decode("utf-8", "replace")])
        if spelled in self._begun:
            return at, spelled, 0
        left = self._after(at, self._other)
        return None if left is None else (left[0], b"", length - len(spelled))

    def _after(self, at: int, key: int) -> _At | None:
        to = self._machine.map.get(at, {}).get(key)
        return None if to is None or not self._machine.islive(to) else (to, b"", 0)


def _length(first: int) -> int:
    """Bytes of a character of UTF-8 by its first one; 0 where none begins like that."""
    if first < 0x80:
        return 1
    if 0xC2 <= first <= 0xDF:
        return 2
    if 0xE0 <= first <= 0xEF:
        return 3
    return 4 if 0xF0 <= first <= 0xF4 else 0
