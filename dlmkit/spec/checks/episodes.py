"""A check of procedures that decode the same rows several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import procedures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["EPISODE_CHECKS"]


def same_texts(root: Recipe) -> Iterator[Finding]:
    """A procedure wants different texts, and nothing in its pipeline draws random numbers."""
    for procedure in procedures(root):
        below = (part.component for part in procedure.walk())
        draws = any(isinstance(each, Strategy) and each.stochastic for each in below)
        if procedure.component.repeats and not draws:
            yield Finding(
                procedure,
                f"{procedure.component.name!r} wants different texts, but its pipeline draws no "
                "random numbers, so all are the same",
                "sample from the distribution, for example with sample: categorical",
            )


EPISODE_CHECKS = (Check("same-texts", "warning", same_texts),)
"""The check of this module."""
