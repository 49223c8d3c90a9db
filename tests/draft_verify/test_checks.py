"""What `check` refuses: parts that do not fit each other or the models, each at its place."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.errors import RequestError
from dlmkit.spec import SpecError, load_spec
from dlmkit.spec.checks import CHECKS
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import ElasticCache, FeatureCache
from tests.draft_verify.pieces import drafter, networks, procedure, together

GOOD = """dlmkit: pipeline/1
name: good
models: {verifier: builtin/verifier, drafter: builtin/drafter}
gen_length: 32
pipeline:
  use: draft-verify
  verifier: {model: verifier, sample: greedy, confidence: probability, transfer: top-k}
  draft:
    use: model-steps
    pipeline: {model: drafter, sample: greedy, confidence: probability, transfer: top-k}
  view: states
  judge: transition
  scope: prefix
  resolve: remask
  schedule: fixed
"""
RATED = GOOD.replace("judge: transition", "judge: greedy")
DRAFTER = GOOD[GOOD.index("  draft:") : GOOD.index("  view:")]
CAUSAL = GOOD.replace("builtin/verifier", "builtin/guide").replace(
    "model: verifier,", "model: verifier, blocks: {use: fixed, length: 1},"
)
DRAWN = GOOD.replace("greedy", "categorical").replace("transition", "ratio")
DRAWN = DRAWN.replace("remask", "replace-first")
MULTI = DRAWN.replace(
    "model: drafter, sample: categorical, confidence: probability, transfer: top-k",
    "model: drafter, sample: categorical, confidence: probability, transfer: {use: top-k, k: 2}",
)
CASES = {
    "a judge whose evidence the view does not give": (
        GOOD.replace("view: states", "view: post"),
        "draft-evidence", (12, 10), "write `view: states`",
    ),
    "a ratio of laws that nothing was drawn from": (
        DRAWN.replace("model: drafter, sample: categorical", "model: drafter, sample: greedy"),
        "draft-drawn", (12, 10), "judge by `point-mass`",
    ),
    "laws of a drafter that has none": (
        GOOD.replace("transition", "kl").replace("states", "post")
        .replace(DRAFTER, "  draft: ngram-table\n"),
        "draft-laws", (10, 10), "draft with `model-steps`",
    ),
    "alternatives behind a single text": (
        GOOD.replace("transition", "greedy").replace("states", "post")
        .replace(DRAFTER, "  draft: rank-graph\n"),
        "draft-branches", (9, 9), "write `view: states`",
    ),
    "alternatives that are each tried alone": (
        GOOD.replace("transition", "point-mass").replace("remask", "replace-first")
        .replace(DRAFTER, "  draft: rank-graph\n"),
        "draft-alternatives", (10, 10), "judge by `recursive`",
    ),
    "gaps in what is read from the left": (
        CAUSAL.replace("view: states", "view: causal").replace("transition", "greedy"),
        "draft-gaps", (11, 9), "write `refine: [left-to-right]`",
    ),
    "a causal drafter that is to fill masks in any order": (
        GOOD.replace("builtin/drafter", "builtin/guide"),
        "left-to-right", (10, 15), "write `blocks: {use: fixed, length: 1}`",
    ),
    "a causal verifier that is to fill masks in any order": (
        GOOD.replace("builtin/verifier", "builtin/guide"),
        "left-to-right", (7, 13), "write `blocks: {use: fixed, length: 1}`",
    ),
    "guesses behind masks of a causal model": (
        CAUSAL.replace("view: states", "view: pre").replace("transition", "greedy"),
        "draft-attention", (11, 9), "use another view, or another verifier",
    ),
    "any order verified from left to right": (
        DRAWN.replace("scope: prefix", "scope: {use: prefix, order: position}"),
        "draft-order", (13, 10), "write `scope: {use: prefix, order: reveal}`",
    ),
    "several draws in one step": (
        MULTI, "draft-order", (13, 10), "write `scope: {use: prefix, order: reveal}`",
    ),
    "a replacement after which judging goes on": (
        DRAWN.replace("scope: prefix", "scope: elementwise"),
        "draft-order", (13, 10), "write `scope: {use: prefix, order: reveal}`",
    ),
    "a replacement that nobody writes": (
        DRAWN.replace("replace-first", "remask"), "draft-correction", (14, 12),
        "write `resolve: replace-first`",
    ),
    "a carry without its view": (
        RATED.replace("view: states", "view: post")
        .replace(DRAFTER, "  draft: own-topk-chain\n"),
        "draft-carry", (8, 10), "use the view 'states'",
    ),
    "a verifier that remembers": (
        GOOD.replace(
            "model: verifier, sample: greedy, confidence: probability, transfer: top-k",
            "model: verifier, transfer: runners-up, sample: greedy, confidence: probability",
        ),
        "draft-memory", (7, 41), "leave it out of the verifier's pipeline",
    ),
    "shadows where each layer reads other positions": (
        RATED.replace("view: states", "view: loo")
        .replace("model: verifier,", "model: verifier, cache: {use: refresh, of: sparse},"),
        "draft-shadows", (7, 57), "use a cache whose layers read the same",
    ),
    "a cache of blocks for a verifier that reads from the left": (
        RATED.replace("builtin/verifier", "builtin/guide").replace("view: states", "view: causal")
        .replace("model: verifier,", "model: verifier, cache: dual,"),
        "draft-memory", (7, 38), "leave it out of the verifier's pipeline",
    ),
    "a verifier whose layers go on from one state": (
        GOOD.replace("model: verifier,", "model: verifier, cache: elastic-cache,"),
        "draft-memory", (7, 38), "leave it out of the verifier's pipeline",
    ),
    "a drafter whose layers keep rejected guesses": (
        GOOD.replace("model: drafter,", "model: drafter, cache: dllm-cache,"),
        "draft-layers", (10, 39), "use another cache, such as dual",
    ),
    "a drafter whose window keeps rejected guesses": (
        GOOD.replace("model: drafter,", "model: drafter, cache: elastic-cache,"),
        "draft-layers", (10, 39), "use another cache, such as dual",
    ),
    "a verifier that counts its steps": (
        GOOD.replace("model: verifier,", "model: verifier, max_steps: 9,"),
        "draft-memory", (7, 42), "leave it out, or set max_rounds",
    ),
    "a drafter that takes back": (
        GOOD.replace("model: drafter,", "model: drafter, revise: unsupported, max_steps: 40,"),
        "draft-revision", (10, 40), "leave it out of the drafter's pipeline",
    ),
    "distributions compared across a bridge": (
        GOOD.replace("transition", "kl").replace("schedule", "bridge: retokenize\n  schedule"),
        "draft-bridge", (12, 10), "use a judge that reads the verifier's law only",
    ),
    "distributions mixed across a bridge": (
        GOOD.replace("model-steps", "model-steps\n    recall: 0.5")
        .replace("schedule", "bridge: retokenize\n  schedule"),
        "draft-bridge", (9, 5), "leave that out (`recall: 0`)",
    ),
    "a view from the left on a bidirectional model": (
        RATED.replace("view: states", "view: causal"),
        "draft-attention", (11, 9), "use another view, or another verifier",
    ),
    "a view around a guess on a causal model": (
        RATED.replace("builtin/verifier", "builtin/guide").replace("view: states", "view: loo"),
        "draft-attention", (11, 9), "use another view, or another verifier",
    ),
}  # fmt: skip


def test_what_fits_passes():
    """The compositions that the cases are made from are sound."""
    assert () == load_spec(GOOD).warnings
    assert () == load_spec(DRAWN).warnings


@pytest.mark.parametrize("cache", ["dkv-decode", "d2cache", "{use: refresh, of: dkv-decode}"])
def test_steps_that_a_cache_cannot_follow_are_warned_of(cache):
    """At the cache, which may serve; one that stands still within a block passes in silence."""
    text = GOOD.replace("model: verifier,", f"model: verifier, cache: {cache},")
    (found,) = load_spec(text).warnings
    assert ("draft-cache", 7, 38) == (found.check, found.mark.line, found.mark.column)
    assert () == load_spec(text.replace(cache, "free-cache")).warnings


def test_every_check_has_a_composition_that_it_refuses():
    """Here, or where columns and vocabularies are tested; one only warns."""
    elsewhere = {"draft-cache", "draft-columns", "draft-vocabulary"}
    refused = {check for _, check, *_ in CASES.values()}
    assert {check.id for check in CHECKS if check.id.startswith("draft-")} <= refused | elsewhere


@pytest.mark.parametrize("case", CASES)
def test_a_forbidden_composition_is_refused(case):
    """Invariant 15: each with its check, its position and a next step."""
    text, check, (line, column), hint = CASES[case]
    with pytest.raises(SpecError) as caught:
        load_spec(text)
    found = {problem.check: problem for problem in caught.value.problems}
    assert check in found
    assert (line, column) == (found[check].mark.line, found[check].mark.column)
    assert found[check].hint.startswith(hint)


def test_a_draft_of_length_nothing_is_refused():
    """An option's own bound, at its place."""
    with pytest.raises(SpecError, match=r"schedule\.steps must be at least 1; got 0"):
        load_spec(GOOD.replace("schedule: fixed", "schedule: {use: fixed, steps: 0}"))


def test_unlike_vocabularies_need_a_bridge(fixtures):
    """At the drafter's model, with what sets the two apart."""
    text = GOOD.replace("builtin/drafter", str(fixtures / "dream"))
    with pytest.raises(SpecError) as caught:
        load_spec(text)
    (found,) = caught.value.problems
    assert "draft-vocabulary" == found.check
    assert (10, 23) == (found.mark.line, found.mark.column)
    assert "carry the text across: `bridge: retokenize`" == found.hint


@pytest.mark.parametrize("cache", [FeatureCache(), ElasticCache()], ids=["dllm", "elastic"])
def test_layers_that_go_on_are_refused_before_they_draft(cache):
    """Also in a pipeline that was written in Python."""
    with pytest.raises(RequestError, match="not taken back with a draft"):
        together(procedure(draft=drafter(cache=cache)), networks())


@pytest.mark.parametrize("vocabulary", [20, 24], ids=["sizes", "masks"])
def test_unlike_models_are_refused_before_they_draft(vocabulary):
    """Also where nothing was known of them when the spec was checked."""
    drafting = toy_network(1, vocabulary=vocabulary)
    drafting.info = attrs.evolve(drafting.info, mask_id=7)
    nets = {"verifier": toy_network(0), "drafter": drafting}
    with pytest.raises(RequestError, match="carry the text between them"):
        together(procedure(), nets)
