"""Pipelines around a tested component."""

from __future__ import annotations

from typing import Any

from dlmkit.bundles import Bundle
from dlmkit.component import Component, options_of
from dlmkit.denoise import Denoise
from dlmkit.draft_verify.kernel import DraftVerify
from dlmkit.draft_verify.roles import Part
from dlmkit.roles import Blocks, ConfidenceScorer, Procedure, TransferRule
from dlmkit.testing.plain import BestPosition, BestToken, TokenLogScore, TokenScore
from dlmkit.testing.plain_drafting import (
    Dice,
    DrawnToken,
    PassedOnly,
    SameToken,
    StepByStep,
    ThreeSteps,
    UpToFailure,
)

__all__ = ["MAX_STEPS", "pipeline_around"]

MAX_STEPS = 40
"""Enough for the toy canvases, so that whatever reopens positions ends."""


def pipeline_around(component: Component, *, blocks: Blocks | None) -> Procedure:
    """A pipeline with the component in its slot, and plain components where others must be."""
    if isinstance(component, Part):
        return drafting_around(component, blocks=blocks)
    slots: dict[str, Any] = {
        "blocks": blocks,
        "sample": BestToken(),
        "confidence": _scorer_for(component),
        "transfer": BestPosition(),
    }
    if isinstance(component, Bundle):
        return Denoise(**({"max_steps": MAX_STEPS} | slots | dict(component.slots())))
    listed = {each.name for each in options_of(Denoise) if each.default == ()}
    slots[component.role] = (component,) if component.role in listed else component
    return Denoise(max_steps=MAX_STEPS, **slots)


def drafting_around(part: Part, *, blocks: Blocks | None) -> DraftVerify:
    """The same for a part of a draft-verify procedure, whose verifier draws its tokens."""
    verifier = Denoise(
        blocks=blocks, sample=DrawnToken(), confidence=TokenScore(), transfer=BestPosition()
    )
    slots: dict[str, Any] = {
        "draft": Dice(),
        "view": StepByStep(),
        "judge": SameToken(),
        "scope": UpToFailure(),
        "resolve": PassedOnly(),
        "schedule": ThreeSteps(),
    }
    slots[part.role] = (part,) if part.role == "refine" else part
    return DraftVerify(verifier=verifier, **slots)


def _scorer_for(component: Component) -> ConfidenceScorer:
    """A scorer whose unit the component understands."""
    if isinstance(component, TransferRule):
        spaces = component.score_spaces()
        if spaces and "probability" not in spaces:
            return TokenLogScore()
    return TokenScore()
