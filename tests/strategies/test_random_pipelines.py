"""Pipelines drawn at random from everything registered: refused with a reason, or decoded."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.plugins import get_plugins
from dlmkit.spec import Document, SpecError, check_document
from dlmkit.testing.conformance.decoding import GEN_LENGTH, PROMPTS, decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit.testing.conformance.scenes import attention_for
from dlmkit.testing.examples import example_of

MAX_STEPS = 24
ONE, MANY = (
    ("blocks", "cache", "guide", "length"),
    ("inputs", "logits", "exit", "guard", "revise", "stop"),
)


@cache
def offered(role: str) -> list[Any]:
    """One example of each registered component of a role that works with full attention.

    Those for another attention say so when they meet it.
    """
    registry = get_plugins().registry
    classes = [offer.cls for each in registry.roles() for offer in registry.offers(each)]
    found = (example_of(offer.cls, classes) for offer in registry.offers(role))
    return [each for each in found if attention_for(each) is None]


def some(role: str) -> st.SearchStrategy[Any]:
    """A component of the role."""
    return st.sampled_from(offered(role))


def _fitting(component: Any) -> Any:
    """Blocks of four, which cover the toy canvas; anything else as it is."""
    short = component.role == "blocks" and hasattr(component, "length")
    return attrs.evolve(component, length=4) if short else component


@st.composite
def pipelines(draw: st.DrawFn) -> Denoise:
    """Every slot filled at random; most optional ones are left empty."""
    slots = {role: draw(some(role)) for role in ("sample", "confidence", "transfer")}
    for role in ONE:
        if offered(role) and draw(st.integers(0, 2)) == 0:
            slots[role] = _fitting(draw(some(role)))
    for role in MANY:
        if offered(role):
            slots[role] = tuple(draw(st.lists(some(role), max_size=1)))
    return Denoise(max_steps=MAX_STEPS, **slots)


@given(pipelines())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_pipeline_is_refused_or_decodes_to_the_end(pipeline: Denoise) -> None:
    """No mask is left unless a stop rule ended the row; the prompt stays; steps are bounded."""
    document = Document(name="drawn", gen_length=GEN_LENGTH, pipeline=pipeline)
    try:
        check_document(document)
    except SpecError as refused:
        assert all(problem.message for problem in refused.problems)
        return
    decoded = decode(pipeline, toy_networks())
    left = sum(row.count(decoded.mask_id) for row in decoded.rows)
    assert not left or pipeline.stop
    assert list(PROMPTS) == [
        row[: len(prompt)] for row, prompt in zip(decoded.rows, PROMPTS, strict=True)
    ]
    assert len(decoded.trace) <= MAX_STEPS + GEN_LENGTH
