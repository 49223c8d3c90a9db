"""Positions, problems, and how they are shown."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Literal

import attrs

from dlmkit.errors import DlmkitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Mark", "Problem", "Source", "SpecError", "SpecWarning", "nearest", "one_of", "render"]

SHORT_LIST = 12
"""A hint lists the known names up to this many."""


@attrs.frozen(eq=False)
class Source:
    """A text with the name under which problems point into it; `order` sorts reports."""

    name: str
    text: str
    order: int = 0

    def mark(self, line: int, column: int) -> Mark:
        """Return the position of a 0-based line and column."""
        return Mark(self, line + 1, column + 1)

    def mark_at(self, offset: int) -> Mark:
        """Return the position of a character offset."""
        before = self.text[:offset]
        return self.mark(before.count("\n"), offset - (before.rfind("\n") + 1))


@attrs.frozen
class Mark:
    """A 1-based line and column in a source."""

    source: Source
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def excerpt(self) -> str | None:
        """The line that is marked; None past the end of the text."""
        lines = self.source.text.splitlines()
        return lines[self.line - 1] if self.line <= len(lines) else None


@attrs.frozen
class Problem:
    """One thing that is wrong, where, and what would help; without a mark it concerns all."""

    mark: Mark | None
    message: str
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"
    check: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The problem as plain data."""
        return {
            "severity": self.severity,
            "file": self.mark.source.name if self.mark else None,
            "line": self.mark.line if self.mark else None,
            "column": self.mark.column if self.mark else None,
            "message": self.message,
            "hint": self.hint,
            "check": self.check,
        }


class SpecError(DlmkitError):
    """A spec that cannot be used; `problems` lists everything found, in file order."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(render(problem) for problem in self.problems))


class SpecWarning(UserWarning):
    """A spec that can be used but probably does not mean what it says."""


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort problems by source, line and column."""

    def place(problem: Problem) -> tuple[int, int, int]:
        mark = problem.mark
        return (mark.source.order, mark.line, mark.column) if mark else (0, 0, 0)

    return tuple(sorted(problems, key=place))


def render(problem: Problem) -> str:
    """Show a problem: position and message, the line, a caret and the hint."""
    label = "" if problem.severity == "error" else "warning: "
    if problem.mark is None:
        hint = f"\n  hint: {problem.hint}" if problem.hint else ""
        return f"{label}{problem.message}{hint}"
    shown = [f"{problem.mark}: {label}{problem.message}"]
    line = problem.mark.excerpt()
    if line is not None:
        before = line[: problem.mark.column - 1]
        pad = "".join("\t" if letter == "\t" else " " for letter in before)
        shown.append(f"{problem.mark.line:>6} | {line}")
        shown.append(f"{'':>6} | {pad}^ {problem.hint or ''}".rstrip())
    elif problem.hint:
        shown.append(f"{'':>6}   {problem.hint}")
    return "\n".join(shown)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was most likely meant, or None."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def one_of(known: Sequence[str]) -> str | None:
    """Return a hint that lists the known names; None when there are too many, or none."""
    if not 0 < len(known) <= SHORT_LIST:
        return None
    return "known: " + ", ".join(sorted(known))
