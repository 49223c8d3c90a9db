"""Checks of a drafter: whether its drafts can be shown, continued and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.draft_verify.roles import Bridge, Drafter, Sight
from dlmkit.roles import CachePolicy, Strategy
from dlmkit.spec.check import Check, Finding
from dlmkit.spec.walk import first, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlmkit.spec.recipe import Recipe

__all__ = ["DRAFTER_CHECKS", "makes_one_text"]


def makes_one_text(procedure: Recipe) -> bool:
    """Whether a refiner makes one text, from left to right, of whatever is drafted."""
    return any(refiner.orders for refiner in procedure.component.refine)


def unordered_drafts(root: Recipe) -> Iterator[Finding]:
    """A view reads from left to right what was drafted in any order, and may have gaps."""
    for procedure, draft, view in together(root, Drafter, Sight):
        whole = draft.component.order == "position" or draft.component.one_shot()
        if "causal" in view.component.requires and not (whole or makes_one_text(procedure)):
            yield Finding(
                view,
                f"{view.title} reads from left to right, and {draft.title} drafts in any order",
                "write `refine: [left-to-right]`",
            )


def lost_carry(root: Recipe) -> Iterator[Finding]:
    """A drafter goes on from evidence that the view does not give."""
    for _, draft, view in together(root, Drafter, Sight):
        needed = draft.component.needs_view
        if needed and view.component.name not in needed:
            known = " or ".join(repr(name) for name in sorted(needed))
            yield Finding(
                draft,
                f"{draft.title} goes on from what the verifier said at the state that was "
                f"reached, and {view.title} does not show it",
                f"use the view {known}",
            )


def hidden_branches(root: Recipe) -> Iterator[Finding]:
    """A drafter proposes alternatives, and the view shows one text."""
    for _, draft, view in together(root, Drafter, Sight):
        if draft.component.branches and not view.component.branches:
            yield Finding(
                view,
                f"{draft.title} proposes alternatives, and {view.title} shows a single text",
                "write `view: states`",
            )


def revoking_drafter(root: Recipe) -> Iterator[Finding]:
    """A drafting pipeline takes back what it has drafted."""
    for _, draft in together(root, Drafter):
        for part in draft.walk():
            if isinstance(part.component, Strategy) and part.component.role in ("revise", "length"):
                yield Finding(
                    part,
                    f"a draft only grows, and {part.title} changes what was drafted",
                    "leave it out of the drafter's pipeline; the verifier sends guesses back",
                )


def lasting_layers(root: Recipe) -> Iterator[Finding]:
    """A drafting pipeline keeps what its layers gave for drafts that are taken back."""
    for procedure, draft in together(root, Drafter):
        bridged = first(procedure, Bridge) is not None  # then each round drafts afresh
        for part in () if bridged else draft.walk():
            if isinstance(part.component, CachePolicy) and "layer-steps" in part.component.requires:
                yield Finding(
                    part,
                    f"{part.title} keeps what layers gave, which is not taken back with a draft",
                    "use another cache, such as dual, or none",
                )


DRAFTER_CHECKS = (
    Check("draft-gaps", "error", unordered_drafts),
    Check("draft-carry", "error", lost_carry),
    Check("draft-branches", "error", hidden_branches),
    Check("draft-revision", "error", revoking_drafter),
    Check("draft-layers", "error", lasting_layers),
)
"""The checks of this module, in the order in which they run."""
