"""Checks of strategies that stand in one pipeline and do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.roles import (
    ConfidenceScorer,
    EarlyExit,
    Guide,
    LogitsTransform,
    Reviser,
    Strategy,
    TransferRule,
)
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import own, procedures, simple, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.component import Component
    from dlmkit.spec.recipe import Recipe

__all__ = ["STRATEGY_CHECKS"]


def score_space(root: Recipe) -> Iterator[Finding]:
    """A transfer rule reads another unit than the confidence scorer gives."""
    for procedure, scorer in together(root, ConfidenceScorer):
        space = scorer.component.score_space()
        for part in own(procedure, TransferRule):
            spaces = part.component.score_spaces()
            if spaces and space not in spaces:
                yield Finding(
                    part,
                    f"transfer rule {part.component.name!r} reads {' or '.join(sorted(spaces))}, "
                    f"but {scorer.title} gives {space}",
                    "choose a confidence in that unit, or a transfer rule that only ranks",
                )


def exit_scale(root: Recipe) -> Iterator[Finding]:
    """An exit compares candidates whose distribution is edited before it sees them."""
    for procedure in procedures(root):
        edits = [part for part in simple(procedure) if _edits_scores(part.component)]
        for part in simple(procedure, EarlyExit) if edits else ():
            if part.component.needs().top >= 2:
                names = ", ".join(repr(each.component.name) for each in edits)
                yield Finding(
                    part,
                    f"{part.title} compares candidates after {names} changed them",
                    "its thresholds were set on the unchanged distribution; set them anew",
                )


def _edits_scores(component: Component) -> bool:
    if isinstance(component, LogitsTransform):
        return component.stage == "score"
    return isinstance(component, Guide)


def other_training(root: Recipe) -> Iterator[Finding]:
    """The weights of a strategy were trained beside something else."""
    for procedure in procedures(root):
        for part in own(procedure, Strategy):
            for slot, trained in part.component.trained_beside().items():
                here = _standing(slot, procedure, root)
                if here is not None and here != trained:
                    yield Finding(
                        part,
                        f"the weights of {part.title} were trained with {slot} {trained}, and "
                        f"here it is {here}",
                        f"set {slot} to {trained}, or expect other choices than in training",
                    )


def _standing(slot: str, procedure: Recipe, root: Recipe) -> str | None:
    """The names of what stands in a slot, or the length; None where there is no such slot."""
    if slot == "gen_length":
        return str(root.component.gen_length)
    filled = getattr(procedure.component, slot, procedure)
    if not isinstance(filled, Strategy | tuple | None):
        return None
    names = [each.name for each in (filled if isinstance(filled, tuple) else (filled,)) if each]
    return ", ".join(names) or "none"


def opposite_places(root: Recipe) -> Iterator[Finding]:
    """One transfer rule draws commits together, another keeps them apart."""
    for procedure in procedures(root):
        rules = list(simple(procedure, TransferRule))
        near = [part for part in rules if part.component.locality == "near"]
        for part in rules:
            if near and part.component.locality == "far":
                yield Finding(
                    part,
                    f"transfer rule {part.component.name!r} keeps commits apart, but "
                    f"{near[0].component.name!r} puts them beside each other",
                    "use one of them, or each in its own part of the decode with `when`",
                )


def double_reopening(root: Recipe) -> Iterator[Finding]:
    """Two revisers put masks back, each without regard to the other."""
    for procedure in procedures(root):
        reopening = [part for part in simple(procedure, Reviser) if part.component.reopens]
        for part in reopening[1:]:
            yield Finding(
                part,
                f"{part.component.name!r} and {reopening[0].component.name!r} both put masks back",
                "each counts on its own share of the steps; expect more of them, or use one",
            )


def undone_exploration(root: Recipe) -> Iterator[Finding]:
    """Tokens that are committed in doubt are taken back for being doubtful."""
    for procedure in procedures(root):
        exploring = [part for part in simple(procedure, TransferRule) if part.component.doubtful]
        for part in simple(procedure, Reviser) if exploring else ():
            if part.component.reopens:
                yield Finding(
                    part,
                    f"{part.component.name!r} may take back at once what "
                    f"{exploring[0].component.name!r} commits although it is uncertain",
                    "use one of them, or let the reviser begin later with `when`",
                )


STRATEGY_CHECKS = (
    Check("C2", "error", score_space),
    Check("C9", "warning", exit_scale),
    Check("C10", "warning", other_training),
    Check("C15", "warning", opposite_places),
    Check("C16", "warning", double_reopening),
    Check("C24", "warning", undone_exploration),
)
"""The checks of this module, in the order in which they run."""
