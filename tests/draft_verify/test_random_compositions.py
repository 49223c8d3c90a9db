"""Invariants 1, 2, 4, 5, 8 and 10 of random compositions on random networks, in float64."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dlmkit_strategies.cache import BlockCausal
from dlmkit_strategies.draft_verify import (
    AfterDraft,
    BeforeDraft,
    Causal,
    DeepestPath,
    Elementwise,
    EveryState,
    Greedy,
    LeaveGuessOut,
    LeaveOneOut,
    Likely,
    ModelSteps,
    NextToken,
    NgramTable,
    Prefix,
    Remask,
    ReplaceFirst,
    Transition,
    Truncate,
    Trust,
    VerifierStep,
    WhenEmpty,
)
from dlmkit_strategies.sample import Greedy as Likeliest
from dlmkit_strategies.trees import AdjacencyTree, Paths
from tests.draft_verify.drawn import CAUSAL, EXACT, SCHEDULES, drafters, nets, pipelines
from tests.draft_verify.pieces import alone, procedure, together
from tests.draft_verify.runs import Silent, run

SOME = settings(max_examples=15)
BONUSES = st.sampled_from([None, VerifierStep(), WhenEmpty()])


def no_more_often(found, plain):
    """Each row takes part in no more passes of the verifier than it does in plain decoding."""
    pairs = zip(found, plain, strict=True)
    return all(one.forwards["verify"] <= other.forwards["decode"] for one, other in pairs)


@SOME
@given(nets(), pipelines("verifier"), drafters(), SCHEDULES, BONUSES)
def test_steps_of_the_verifier_give_its_own_text(networks, verifier, draft, schedule, bonus):
    """Invariants 2 and 8: whoever drafts, however long, and in no more passes with a bonus."""
    pipeline = procedure(verifier, draft, schedule=schedule, bonus=bonus, judge=Transition())
    rows, _, ledgers = run(pipeline, networks)
    expected, _, plain = run(verifier, networks)
    assert expected == rows
    assert bonus is None or no_more_often(ledgers, plain)


@SOME
@given(nets(), pipelines("verifier", EXACT, st.just(Likeliest())), SCHEDULES)
def test_a_verifier_that_drafts_for_itself_loses_nothing(networks, pipeline, schedule):
    """Invariant 1: by the same rules every step is one that it would take."""
    parts = {"schedule": schedule, "judge": Transition()}
    _, _, ledgers = run(procedure(pipeline, ModelSteps(pipeline=pipeline), **parts), networks)
    assert {1.0} == {ledger.acceptance for ledger in ledgers}


@SOME
@given(
    nets(), pipelines("verifier"), drafters(), SCHEDULES,
    st.sampled_from([BeforeDraft(), EveryState()]), st.sampled_from([Remask(), Truncate()]),
)  # fmt: skip
def test_what_is_all_sent_back_leaves_the_verifier_alone(
    networks, verifier, draft, schedule, view, resolve
):
    """Invariant 5: text and passes."""
    parts = {"judge": Likely(threshold=1.5), "scope": Elementwise(), "bonus": VerifierStep()}
    pipeline = procedure(verifier, draft, schedule=schedule, view=view, resolve=resolve, **parts)
    found, expected = together(pipeline, networks), together(verifier, networks)
    assert expected.rows == found.rows


@SOME
@given(nets(attention=None), pipelines("drafter", sample=st.just(Likeliest())), SCHEDULES)
def test_what_is_all_kept_is_the_drafters(networks, drafting, schedule):
    """Invariant 5: without a bonus, and with a cache that verifying does not touch.

    `multiblock` is for drafters that guess from left to right; it lets others rest.
    """
    assume(schedule.name != "multiblock")
    parts = {"judge": Trust(), "scope": Elementwise(), "bonus": None, "view": AfterDraft()}
    pipeline = procedure(alone(), ModelSteps(pipeline=drafting), schedule=schedule, **parts)
    assert together(drafting, networks).rows == together(pipeline, networks).rows


@SOME
@given(
    nets(), pipelines("verifier"), BONUSES,
    st.sampled_from([BeforeDraft(), AfterDraft(), LeaveOneOut(), LeaveGuessOut(), EveryState()]),
)  # fmt: skip
def test_nothing_drafted_is_nothing_changed(networks, verifier, bonus, view):
    """Invariant 10: text and passes; where the last block is short, filler may be saved."""
    parts = {"judge": Greedy(), "scope": Elementwise(), "bonus": bonus, "view": view}
    found = together(procedure(verifier, Silent(), **parts), networks)
    expected = together(verifier, networks)
    assert expected.rows == found.rows
    ours, plain = (each.executed["verifier"] for each in (found, expected))
    assert (plain.forwards, plain.rows) == (ours.forwards, ours.rows)
    assert ours.fed_positions <= plain.fed_positions


@SOME
@given(
    nets(**CAUSAL), SCHEDULES, st.sampled_from([None, BlockCausal()]),
    st.sampled_from(["drafter", "verifier", "table", "tree"]),
)  # fmt: skip
def test_a_greedy_judge_gives_greedy_text(networks, schedule, cache, who):
    """Invariants 4 and 8 of causal verifiers, over chains and trees."""
    steps = {
        name: ModelSteps(pipeline=alone(name, length=1, cache=BlockCausal()))
        for name in ("drafter", "verifier")
    }
    draft = (steps | {"table": NgramTable(), "tree": AdjacencyTree()})[who]
    parts = {"judge": Greedy(), "resolve": ReplaceFirst(), "bonus": NextToken()}
    parts["view"] = Paths() if who == "tree" else Causal()
    parts["scope"] = DeepestPath() if who == "tree" else Prefix(order="position")
    verifier = alone(length=1, cache=cache)
    rows, _, ledgers = run(procedure(verifier, draft, schedule=schedule, **parts), networks)
    expected, _, plain = run(alone(length=1), networks)
    assert expected == rows
    assert no_more_often(ledgers, plain)
