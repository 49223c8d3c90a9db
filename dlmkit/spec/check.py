"""What a composition check is: a named function over a recipe tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import attrs

from dlmkit.spec.recipe import Recipe
from dlmkit.spec.report import Problem

__all__ = ["Check", "Finding", "run_checks"]


@attrs.frozen
class Finding:
    """What a check found: the part at fault, the option if one is, and what to do."""

    part: Recipe
    message: str
    hint: str | None = None
    option: str | None = None


@attrs.frozen
class Check:
    """A named predicate on a whole document.

    `id` is stable and unique (the project's own are `C1`, `C2`, ...; a plugin prefixes its name);
    `find` is given the recipe of the document, whose parts include the models and the pipeline.
    """

    id: str
    severity: Literal["error", "warning"]
    find: Callable[[Recipe], Iterator[Finding]]

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.find.__doc__ or "").strip().partition("\n")[0]


def run_checks(root: Recipe, checks: Iterable[Check]) -> Iterator[Problem]:
    """Run every check; positions come from the recipe."""
    for check in checks:
        for found in check.find(root):
            mark = found.part.where(found.option)
            yield Problem(mark, found.message, found.hint, check.severity, check.id)
