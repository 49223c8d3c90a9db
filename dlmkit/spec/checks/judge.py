"""Checks of a judge of drafts: whether it is given what it reads, drawn as it presumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.draft_verify.roles import Drafter, Judge, Resolver, Scope, Sight
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.checks.drafter import makes_one_text
from dlmkit.spec.walk import together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["JUDGE_CHECKS"]


def missing_evidence(root: Recipe) -> Iterator[Finding]:
    """A judge compares the verifier's own steps, and the view does not show where they start."""
    for _, judge, view in together(root, Judge, Sight):
        if judge.component.needs_steps and not view.component.steps:
            yield Finding(
                judge,
                f"{judge.title} compares states with the verifier's own steps, and {view.title} "
                "does not show every state",
                "write `view: states`, or use a judge that rates tokens",
            )


def unknown_laws(root: Recipe) -> Iterator[Finding]:
    """A judge reads the distributions behind guesses, and the drafter has none to tell."""
    for _, judge, draft in together(root, Judge, Drafter):
        if judge.component.laws and not draft.component.tells_laws:
            yield Finding(
                judge,
                f"{judge.title} reads the drafter's distributions, and {draft.title} has none",
                "draft with `model-steps`, or use a judge that reads the verifier's law only, such "
                "as `conf`",
            )


def undrawn_drafts(root: Recipe) -> Iterator[Finding]:
    """A judge takes guesses for drawn, and the drafter does not draw them."""
    for _, judge, draft in together(root, Judge, Drafter):
        needs_draws = judge.component.drawn or judge.component.coupled
        if needs_draws and not draft.component.sampled():
            yield Finding(
                judge,
                f"{judge.title} takes guesses for drawn from the drafter's law, and "
                f"{draft.title} does not draw them",
                "judge by `point-mass`, or by `greedy`; or let the drafter draw "
                "(`sample: categorical`)",
            )


def wrong_order(root: Recipe) -> Iterator[Finding]:
    """A judge that draws is asked in another order than the guesses were drawn in."""
    for _, judge, draft, scope in together(root, Judge, Drafter, Scope):
        why = _disorder(judge.component, draft.component, scope.component.order)
        if why:
            yield Finding(
                scope,
                f"{judge.title} is exact only in the order in which guesses were drawn: "
                f"{scope.title} {why}",
                "write `scope: {use: prefix, order: reveal}`, and draft one token in each step",
            )


def _disorder(judge: Judge, draft: Drafter, order: str | None) -> str | None:
    if judge.replaces and order is None:
        return "goes on after a failure"
    if not judge.drawn:
        return None
    if order == "position" and draft.order == "reveal" and not draft.one_shot():
        return "reads from left to right what was drawn in any order"
    if order == "reveal" and not draft.alone():
        return f"takes steps as a whole, and {draft.name!r} may draw several tokens in one"
    return None


def lone_judge(root: Recipe) -> Iterator[Finding]:
    """A judge that draws a replacement is asked about alternatives, each as if it were alone."""
    for procedure, judge, draft in together(root, Judge, Drafter):
        alone = judge.component.replaces and not judge.component.families
        if alone and draft.component.branches and not makes_one_text(procedure):
            yield Finding(
                judge,
                f"{judge.title} gives each guess a try of its own, and {draft.title} proposes "
                "alternatives, which together would pass too often",
                "judge by `recursive` what was drawn, and by `greedy` what was not: it keeps the "
                "verifier's law too, where the verifier draws",
            )


def wrong_correction(root: Recipe) -> Iterator[Finding]:
    """A judge that draws a replacement is not asked for it."""
    for _, judge, resolve in together(root, Judge, Resolver):
        if judge.component.replaces and not resolve.component.corrects_first:
            yield Finding(
                resolve,
                f"{judge.title} is exact only if its replacement is written at the first "
                f"failure, and {resolve.title} does not write it",
                "write `resolve: replace-first`",
            )


JUDGE_CHECKS = (
    Check("draft-evidence", "error", missing_evidence),
    Check("draft-laws", "error", unknown_laws),
    Check("draft-drawn", "error", undrawn_drafts),
    Check("draft-order", "error", wrong_order),
    Check("draft-alternatives", "error", lone_judge),
    Check("draft-correction", "error", wrong_correction),
)
"""The checks of this module, in the order in which they run."""
