"""Pipelines around a tested component."""

from __future__ import annotations

from typing import Any

from dlmkit.component import Component, options_of
from dlmkit.denoise import Denoise
from dlmkit.roles import Blocks, ConfidenceScorer, TransferRule
from dlmkit.testing.plain import BestPosition, BestToken, TokenLogScore, TokenScore

__all__ = ["MAX_STEPS", "pipeline_around"]

MAX_STEPS = 40
"""Enough for the toy canvases, so that whatever reopens positions ends."""


def pipeline_around(component: Component, *, blocks: Blocks | None) -> Denoise:
    """A pipeline with the component in its slot, and plain components where others must be."""
    slots: dict[str, Any] = {
        "blocks": blocks,
        "sample": BestToken(),
        "confidence": _scorer_for(component),
        "transfer": BestPosition(),
    }
    listed = {each.name for each in options_of(Denoise) if each.default == ()}
    slots[component.role] = (component,) if component.role in listed else component
    return Denoise(max_steps=MAX_STEPS, **slots)


def _scorer_for(component: Component) -> ConfidenceScorer:
    """A scorer whose unit the component understands."""
    if isinstance(component, TransferRule):
        spaces = component.score_spaces()
        if spaces and "probability" not in spaces:
            return TokenLogScore()
    return TokenScore()
