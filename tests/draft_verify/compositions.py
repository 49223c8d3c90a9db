"""Draft-verify procedures drawn from everything registered, as far as `check` lets them pass."""

from __future__ import annotations

from functools import cache

from hypothesis import assume, reject
from hypothesis import strategies as st

from dlmkit.errors import DlmkitError, RequestError, StrategyError
from dlmkit.models.arch import AttentionPattern
from dlmkit.plugins import get_plugins
from dlmkit.requirements import refuse_unmet
from dlmkit.spec import Document, check_document
from dlmkit.spec.documents import ModelRef
from dlmkit.testing.examples import example_of
from dlmkit.testing.generators import components
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import BlockCausal
from dlmkit_strategies.draft_verify import ModelSteps
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.transfer import Quota, Threshold, TopK
from tests.draft_verify.pieces import alone, procedure

__all__ = ["GEN", "compositions", "networks_of", "unless_refused"]

GEN = 8
FROM_THE_LEFT = AttentionPattern(kind="causal")
REGISTRY = get_plugins().registry
CLASSES = [offer.cls for role in REGISTRY.roles() for offer in REGISTRY.offers(role)]
RULES = [TopK(k=1), TopK(k=2), Quota(steps=4), Threshold(threshold=0.3)]
ELSEWHERE = {"block-causal", "prefix-causal", "layer-steps"}
"""What a cache may require that no verifier here, or none at all, can give it."""
SAMPLERS = [Greedy(), Greedy(), Categorical(temperature=0.8)]


@cache
def offered(role):
    """An example of each registered component of a role."""
    return [example_of(offer.cls, CLASSES) for offer in REGISTRY.offers(role)]


@cache
def drawn(role):
    """A component of the role: the example of it, or one with other options."""
    return st.sampled_from(offered(role)).flatmap(
        lambda each: st.one_of(st.just(each), components(type(each)))
    )


@st.composite
def pipelines(draw, model, causal):
    """One that decodes alone, under any cache; from left to right where it has to."""
    policies = drawn("cache").filter(lambda cache: not cache.requires & ELSEWHERE)
    return alone(
        model,
        length=1 if causal else draw(st.sampled_from([4, 8])),
        cache=draw(st.sampled_from([None, BlockCausal()]) if causal else st.none() | policies),
        sample=draw(st.sampled_from(SAMPLERS)),
        transfer=draw(st.sampled_from(RULES)),
    )


@st.composite
def compositions(draw, *, causal=None):
    """Any parts that `check` lets stand together; `causal` fixes what the verifier attends to."""
    causal = draw(st.booleans()) if causal is None else causal
    draft = draw(drawn("draft"))
    if isinstance(draft, ModelSteps):
        model = draw(st.sampled_from(["verifier", "drafter"]))
        draft = ModelSteps(pipeline=draw(pipelines(model, causal)))
    views = drawn("view").filter(
        lambda view: (
            ("causal" in view.requires) == causal
            and draft.branches <= view.branches
            and (not draft.needs_view or view.name in draft.needs_view)
        )
    )
    view = draw(views)
    told = draft.sampled(), isinstance(draft, ModelSteps)
    judges = drawn("judge").filter(
        lambda judge: (
            judge.needs_steps <= view.steps
            and (judge.drawn or judge.coupled) <= told[0]
            and judge.laws <= told[1]
        )
    )
    parts = {
        "draft": draft,
        "view": view,
        "judge": draw(judges),
        "refine": tuple(draw(st.lists(drawn("refine"), max_size=1))),
        "bonus": draw(st.none() | drawn("bonus")),
    }
    parts |= {role: draw(drawn(role)) for role in ("scope", "resolve", "schedule")}
    found = procedure(draw(pipelines("verifier", causal)), **parts)
    assume(passes(found))
    return found


def passes(found):
    """Whether nothing is refused, neither beforehand nor with the toy networks."""
    try:
        name = "guide" if "causal" in found.view.requires else "verifier"
        models = dict.fromkeys(networks_of(found), ModelRef(repo=f"builtin/{name}"))
        check_document(Document(name="drawn", gen_length=GEN, pipeline=found, models=models))
        refuse_unmet(found, {name: each.info for name, each in networks_of(found).items()})
    except DlmkitError:
        return False
    return True


@cache
def _networks(seed, causal):
    left = {"attention": FROM_THE_LEFT, "logit_shift": 1, "prompts": 2}
    alike = left if causal else {"prompts": 2}
    return {
        "verifier": toy_network(seed, **alike),
        "drafter": toy_network(seed + 50, **alike),
        "main": toy_network(seed + 99, **left),  # of drafters that write from left to right
    }


def networks_of(found, seed=0):
    """Toy networks for all models of a composition; the first one is the verifier's."""
    return _networks(seed, "causal" in found.view.requires)


def unless_refused(records):
    """The records of a decode, unless a part refuses what it finds, with a next step.

    What a drafter tells of its guesses is known only when it drafts.
    """
    try:
        yield from records
    except (RequestError, StrategyError) as refused:
        assert refused.hint
        reject()
