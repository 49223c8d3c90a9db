"""Pipelines drawn at random from everything registered: refused with a reason, or decoded.

DLMKIT_EXAMPLES=2000 pytest tests/strategies/test_random_pipelines.py draws more of them.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.errors import DlmkitError
from dlmkit.plugins import get_plugins
from dlmkit.requirements import refuse_unmet
from dlmkit.roles import Procedure
from dlmkit.spec import Document, SpecError, check_document
from dlmkit.testing.conformance.decoding import GEN_LENGTH, PROMPTS, decode
from dlmkit.testing.conformance.looped import toy_networks_for
from dlmkit.testing.examples import example_of
from dlmkit.testing.generators import components
from dlmkit.testing.plain import ReopenDoubtful
from dlmkit_strategies.cache import DelayedDecode, Prefix
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.editing import TokenEdit
from dlmkit_strategies.exits import Gap
from dlmkit_strategies.guide import ClassifierFree
from dlmkit_strategies.lengths import EndOfTextCut
from dlmkit_strategies.remdm import FillAndRefill
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import TopK

MAX_STEPS = 24
EXAMPLES = int(os.environ.get("DLMKIT_EXAMPLES", "60"))
REQUIRED = ("sample", "confidence", "transfer")
ONE = ("blocks", "cache", "guide", "length")
MANY = ("inputs", "logits", "exit", "guard", "revise", "stop")
HELD = ("procedure", "bundle", "split", "numeric-schedule")
"""Roles that are drawn as what holds the others, or inside their options."""
DRAFTING = (
    "draft", "refine", "view", "judge", "scope", "resolve", "bonus", "schedule", "bridge",
)  # fmt: skip
"""Roles of draft-verify, whose compositions tests/draft_verify draws."""
LOADING = ("engine", "family", "rope")
"""Roles that are about loading a model, not about decoding with it."""
REGISTRY = get_plugins().registry
CLASSES = [offer.cls for role in REGISTRY.roles() for offer in REGISTRY.offers(role)]


@cache
def offered(role: str) -> list[Any]:
    """An example of each registered component of a role."""
    return [example_of(offer.cls, CLASSES) for offer in REGISTRY.offers(role)]


@cache
def drawn(role: str) -> st.SearchStrategy[Any]:
    """A component of the role: the example of it, or one with other options."""
    return st.sampled_from(offered(role)).flatmap(
        lambda each: st.one_of(st.just(each), components(type(each)))
    )


def _fitting(component: Any) -> Any:
    """Blocks of four, which cover the toy canvas; anything else as it is."""
    short = component.role == "blocks" and hasattr(component, "length")
    return attrs.evolve(component, length=4) if short else component


@st.composite
def pipelines(draw: st.DrawFn) -> Denoise:
    """Every slot filled at random; most optional ones are left empty; sometimes a bundle."""
    slots = {role: draw(drawn(role)) for role in REQUIRED}
    for role in ONE:
        if draw(st.integers(0, 2)) == 0:
            slots[role] = _fitting(draw(drawn(role)))
    for role in MANY:
        slots[role] = tuple(draw(st.lists(drawn(role), max_size=1)))
    uncapped = "length" not in slots and draw(st.integers(0, 2)) == 0  # rows may grow to 2048
    slots["max_steps"] = None if uncapped else MAX_STEPS
    if draw(st.integers(0, 3)) == 0:
        for name, filled in draw(drawn("bundle")).slots().items():
            listed = isinstance(filled, tuple)
            slots[name] = (*filled, *slots.get(name, ())) if listed else _bounded(name, filled)
    return Denoise(**slots)


def _bounded(name: str, filled: Any) -> Any:
    return MAX_STEPS if name == "max_steps" else _fitting(filled)


@st.composite
def procedures(draw: st.DrawFn) -> Procedure:
    """A pipeline, or a registered procedure around what it needs."""
    if draw(st.integers(0, 4)):
        return draw(pipelines())
    procedure = draw(st.sampled_from(offered("procedure")))
    slots = {each.name for each in attrs.fields(type(procedure))}
    inner = draw(pipelines())
    if "pipeline" in slots:
        return attrs.evolve(procedure, pipeline=inner)
    shared = slots & {"blocks", "cache", "sample", "confidence", "transfer", "stop"}
    return attrs.evolve(procedure, **{name: getattr(inner, name) for name in shared})


def test_every_role_has_its_place() -> None:
    """A new role is drawn here, or named among those that are not."""
    drawn_here = {*REQUIRED, *ONE, *MANY, *HELD}
    assert set(REGISTRY.roles()) == {*drawn_here, *DRAFTING, *LOADING}


def decodes_or_is_refused(procedure: Procedure, cap: int | None) -> None:
    """What every composition promises."""
    document = Document(name="drawn", gen_length=GEN_LENGTH, pipeline=procedure)
    networks = toy_networks_for(procedure)
    try:
        check_document(document)
        refuse_unmet(procedure, {name: each.info for name, each in networks.items()})
    except DlmkitError as refused:
        found = refused.problems if isinstance(refused, SpecError) else ()
        assert refused.hint or all(problem.message for problem in found)
        return
    decoded = decode(procedure, networks)
    left = sum(row.count(decoded.mask_id) for row in decoded.rows)
    assert not left or getattr(procedure, "stop", ()) or cap is None
    pairs = list(zip(decoded.rows, PROMPTS, strict=True))
    assert [prompt for _, prompt in pairs] == [row[: len(prompt)] for row, prompt in pairs]
    if cap is not None:
        assert len(decoded.trace) <= cap + max(len(row) - len(prompt) for row, prompt in pairs)


PLAIN = {"sample": Greedy(), "confidence": Probability(), "max_steps": MAX_STEPS}
ONCE_BROKEN = {
    "a cut row whose variants have stored rows": Denoise(
        guide=ClassifierFree(), cache=Prefix(), length=EndOfTextCut(min_confidence=0.0),
        transfer=TopK(k=1), **PLAIN,
    ),
    "a quantile of float64": Denoise(
        exit=(Gap(threshold=0.1, statistic="quantile", quantile=0.2),), transfer=TopK(k=1), **PLAIN
    ),
    "a full block to edit, all of it stored": Denoise(
        cache=DelayedDecode(refresh=8), revise=(TokenEdit(),), transfer=TopK(k=8), **PLAIN
    ),
    "a refilling plan and another reviser": Denoise(
        transfer=FillAndRefill(k=1, fill=1.0, loops=2), revise=(ReopenDoubtful(),), **PLAIN
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ONCE_BROKEN)
def test_what_once_broke_is_refused_or_decodes(what: str) -> None:
    """Drawn in longer runs, and mended."""
    decodes_or_is_refused(ONCE_BROKEN[what], MAX_STEPS)


@given(pipelines())
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_a_pipeline_is_refused_or_decodes_to_the_end(pipeline: Denoise) -> None:
    """No mask is left unless a stop rule ended the row; the prompt stays; steps are bounded."""
    decodes_or_is_refused(pipeline, pipeline.max_steps)


@given(procedures())
@settings(max_examples=EXAMPLES // 3, suppress_health_check=list(HealthCheck))
def test_a_procedure_around_any_pipeline_is_refused_or_ends(procedure: Procedure) -> None:
    """Its masks are those of the pipelines that it runs."""
    decodes_or_is_refused(procedure, None)
