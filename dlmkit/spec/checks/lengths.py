"""Composition checks of what changes rows and blocks while they are decoded.

(C17, two controllers in one pipeline, is reported while the document is read.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import Blocks, CachePolicy, EarlyExit, LengthController, TransferRule
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import first, own, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["LENGTH_CHECKS"]


def _moving(root: Recipe) -> Iterator[tuple[Recipe, Recipe]]:
    """Procedures with a controller that may move positions, and that controller."""
    for procedure, part in together(root, LengthController):
        if not part.component.only_cuts:
            yield procedure, part


def block_length(root: Recipe) -> Iterator[Finding]:
    """The blocks do not cover gen_length."""
    for _, part in together(root, Blocks):
        problem = part.component.length_problem(root.component.gen_length)
        if problem:
            yield Finding(part, problem, "change gen_length, or see the options of the blocks")


def moved_keys(root: Recipe) -> Iterator[Finding]:
    """Positions may move, but a cache stores keys and values by position."""
    for procedure, part in _moving(root):
        cache = first(procedure, CachePolicy)
        if cache is not None:
            yield Finding(
                part,
                f"{part.title} may move positions, but {cache.title} stores keys and values by "
                "position",
                "leave the cache out, or use a length controller that only cuts",
            )


def planned_masks(root: Recipe) -> Iterator[Finding]:
    """A rule plans the steps of a block, and how many masks it will have is not known then."""
    changing = [(procedure, part, "may insert masks") for procedure, part in _moving(root)]
    for procedure, blocks in together(root, Blocks):
        if blocks.component.foresees:
            changing.append((procedure, blocks, "chooses block ends in their first step"))
    for procedure, part, what in changing:
        rule = first(procedure, TransferRule)
        if rule is not None and rule.component.may_wait:
            yield Finding(
                part,
                f"{part.title} {what}, but transfer rule "
                f"{rule.component.name!r} plans the steps of a block in advance",
                "use a transfer rule that looks at every step anew, such as threshold or top-k",
            )


def moved_span(root: Recipe) -> Iterator[Finding]:
    """An exit looks at positions by their distance from the prompt, and they may move."""
    for procedure, part in _moving(root):
        for each in own(procedure, EarlyExit):
            if each.component.anchored():
                yield Finding(
                    each,
                    f"{each.title} looks at a part of the region, and {part.title} may move what "
                    "stands there",
                    "let it look at the whole region",
                )


LENGTH_CHECKS = (
    Check("block-length", "error", block_length),
    Check("C7", "error", moved_keys),
    Check("C14", "error", planned_masks),
    Check("moved-span", "warning", moved_span),
)
"""The checks of this module, in the order in which they run."""
