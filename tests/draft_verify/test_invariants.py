"""What every composition promises, on toy networks in float64."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.combinators.condition import Condition
from dlmkit.combinators.when_alone import WhenLogits
from dlmkit.context import Context
from dlmkit.models.arch import AttentionPattern
from dlmkit.passes.session import Session
from dlmkit.schedules import Linear
from dlmkit.testing.conformance.decoding import PROMPTS
from dlmkit.testing.knowing import Knowing
from dlmkit_strategies.cache import (
    BlockCausal,
    D2Cache,
    DelayedDecode,
    Dual,
    FreeCache,
    Prompt,
)
from dlmkit_strategies.draft_verify import (
    AfterDraft,
    Among,
    AmongLikely,
    BeforeDraft,
    Causal,
    Divergence,
    Elementwise,
    EveryState,
    Fixed,
    Greedy,
    GrowAndShrink,
    LeaveGuessOut,
    LeaveOneOut,
    Likely,
    NextToken,
    NgramTable,
    Prefix,
    ReplaceFirst,
    Transition,
    Trust,
    Typical,
    VerifierStep,
    WhenWhole,
)
from dlmkit_strategies.logits import Temperature
from dlmkit_strategies.penalties import EndPenalty, RepetitionPenalty
from dlmkit_strategies.sample import Categorical
from dlmkit_strategies.sample import Greedy as GreedySampler
from dlmkit_strategies.stop import EndOfText
from dlmkit_strategies.transfer import Quota
from tests.draft_verify.compositions import GEN, compositions, networks_of, unless_refused
from tests.draft_verify.evidence import one_round
from tests.draft_verify.pieces import alone, drafter, networks, procedure, together
from tests.draft_verify.runs import Silent, run

VIEWS = [BeforeDraft(), AfterDraft(), LeaveOneOut(), LeaveGuessOut(), EveryState()]


def test_a_verifier_that_drafts_for_itself_keeps_everything():
    """Invariant 1: same network, same policy, nothing approximate."""
    for seed in range(3):
        pipeline = procedure(draft=drafter("verifier"))
        _, _, ledgers = run(pipeline, networks(seed))
        assert [1.0] * len(PROMPTS) == [ledger.acceptance for ledger in ledgers]


def test_a_causal_verifier_that_drafts_for_itself_keeps_everything():
    """Invariant 1 in the view from the left, over the exact cache on both sides."""
    parts = {"judge": Greedy(), "view": Causal(), "scope": Prefix(order="position")}
    for seed in range(3):
        nets = networks(seed, attention=AttentionPattern(kind="causal"), logit_shift=1)
        verifier = alone(length=1, cache=BlockCausal())
        draft = drafter("verifier", length=1, cache=BlockCausal())
        _, _, ledgers = run(procedure(verifier, draft, resolve=ReplaceFirst(), **parts), nets)
        assert [1.0] * len(PROMPTS) == [ledger.acceptance for ledger in ledgers]


WITHIN = compositions(causal=False).filter(lambda found: not hasattr(found.draft, "model"))
"""Drafters with a model of their own write from the left, behind some text."""


@given(WITHIN, st.integers(0, 3))
def test_given_text_among_the_masks_never_changes(pipeline, seed):
    """Invariant 7: what stands between masks from the start."""
    nets = networks_of(pipeline, seed)
    mask_id = nets["verifier"].info.mask_id
    texts = [[3, mask_id, 4, mask_id, mask_id, 9, mask_id], [mask_id, 5, mask_id, 2]]
    canvas = Canvas.create(texts, 0, mask_id, infill=True)
    given_BN, start_BN = canvas.given_BN, canvas.tokens_BN
    sessions = {name: Session(network) for name, network in nets.items()}
    for record in unless_refused(pipeline.steps(Context(sessions, 3), canvas)):
        assert torch.equal(start_BN[given_BN], record.after_BN[given_BN])
    assert not canvas.masked_BN.any()


@given(compositions(), st.integers(0, 3))
def test_every_composition_ends_and_its_account_adds_up(pipeline, seed):
    """Invariants 7 and 8: prompts as they were, and the identities of the ledger."""
    rows, _, ledgers = run(pipeline, networks_of(pipeline, seed))
    mask_id = networks()["verifier"].info.mask_id
    for prompt, row, ledger in zip(PROMPTS, rows, ledgers, strict=True):
        assert list(prompt) == row[: len(prompt)]
        assert mask_id not in row
        assert GEN == ledger.committed
        assert ledger.proposed == ledger.accepted + ledger.corrected + ledger.remasked
        assert ledger.proposed == sum(proposed for proposed, _ in ledger.by_position)
        assert ledger.accepted == sum(accepted for _, accepted in ledger.by_position)


@given(compositions(), st.integers(0, 3))
def test_every_row_decides_something_in_every_round(pipeline, seed):
    """Invariant 6: by a bonus, or by a pass of the verifier alone where the round stood still."""
    nets = networks_of(pipeline, seed)
    _, records, _ = run(pipeline, nets)
    left_B = torch.full((len(PROMPTS),), GEN)
    for record, following in pairwise([*records, None]):
        more = following is not None and following.phase == "verify"
        if record.phase != "verify" or (more and not following.audit.round_B.any()):
            continue  # the round goes on
        now_B = (record.after_BN == nets["verifier"].info.mask_id).sum(dim=1)
        assert bool(((now_B < left_B) | (left_B == 0)).all())
        left_B = now_B


@given(compositions(), st.integers(0, 3))
def test_a_row_decodes_as_it_does_alone(pipeline, seed):
    """Invariants 11 and 12: whatever the other rows accept."""
    nets = networks_of(pipeline, seed)
    rows, _, ledgers = run(pipeline, nets)
    again, _, _ = run(pipeline, nets)
    assert rows == again
    for number, prompt in enumerate(PROMPTS):
        (row,), _, (ledger,) = run(pipeline, nets, [prompt], first_sample=number)
        assert rows[number] == row
        assert ledgers[number].accepted == ledger.accepted
        assert ledgers[number].forwards == ledger.forwards


@pytest.mark.parametrize("view", [BeforeDraft(), EveryState()], ids=lambda view: view.name)
def test_rejecting_everything_is_the_verifier_alone(view):
    """Invariant 5: with a bonus from the canvas as it stands."""
    for seed in range(3):
        nets = networks(seed)
        parts = {"judge": Likely(threshold=1.5), "scope": Elementwise(), "view": view}
        found = together(procedure(bonus=VerifierStep(), **parts), nets)
        expected = together(alone(), nets)
        assert expected.rows == found.rows
        assert expected.executed["verifier"].forwards == found.executed["verifier"].forwards


def test_accepting_everything_is_the_drafter_alone():
    """Invariant 5: without a bonus, and with a cache that verification does not touch."""
    for seed in range(3):
        nets = networks(seed)
        # Post shows what comes after the block too, so that nothing is left unrated.
        parts = {"judge": Trust(), "scope": Elementwise(), "bonus": None, "view": AfterDraft()}
        for cache in (None, Dual()):
            pipeline = procedure(draft=drafter(cache=cache), schedule=Fixed(steps=3), **parts)
            assert (
                together(alone("drafter", cache=cache), nets).rows == together(pipeline, nets).rows
            )


def test_drafting_nothing_is_plain_decoding():
    """Invariant 10: the same text in the same number of passes."""
    nets = networks(1)
    for view in VIEWS:
        pipeline = procedure(
            draft=Silent(), view=view, judge=Greedy(), scope=Elementwise(), bonus=None
        )
        found, expected = together(pipeline, nets), together(alone(), nets)
        assert expected.rows == found.rows
        assert expected.executed["verifier"] == found.executed["verifier"]


@pytest.mark.parametrize("draft", [NgramTable(), drafter(length=1, cache=BlockCausal())])
def test_greedy_judging_of_a_causal_verifier_is_greedy_decoding(draft):
    """Invariant 4, greedy: whoever drafts, with the drafter's exact cache rolled back."""
    for seed in range(3):
        nets = networks(seed, attention=AttentionPattern(kind="causal"), logit_shift=1)
        parts = {"judge": Greedy(), "view": Causal(), "scope": Prefix(order="position")}
        pipeline = procedure(
            alone(length=1), draft, resolve=ReplaceFirst(), bonus=NextToken(), **parts
        )
        found, expected = together(pipeline, nets), together(alone(length=1), nets)
        assert expected.rows == found.rows
        assert found.executed["verifier"].forwards <= expected.executed["verifier"].forwards


def test_an_exact_cache_of_the_drafter_changes_nothing():
    """Invariant 5 of the contract's caches: after a rollback it holds what a fresh pass would."""
    for seed in range(4):
        nets = networks(seed, attention=AttentionPattern(kind="block-causal", block=4))
        for schedule in (Fixed(steps=3), GrowAndShrink(first=3)):
            rows = [
                run(procedure(draft=drafter(cache=cache), schedule=schedule), nets)
                for cache in (None, BlockCausal())
            ]
            assert rows[0][0] == rows[1][0]
            assert [each.accepted for each in rows[0][2]] == [each.accepted for each in rows[1][2]]


def test_a_row_that_rests_remembers_nothing_of_the_passes_of_others():
    """Rows with fewer steps to draft wait; their cache holds what they themselves have stored."""
    cached = drafter("verifier", cache=DelayedDecode(refresh=8, whole=1))
    pipeline = procedure(draft=cached, schedule=GrowAndShrink(first=3, more=2))
    for seed in (3, 4):
        nets = networks(seed)
        rows, _, ledgers = run(pipeline, nets)
        for number, prompt in enumerate(PROMPTS):
            (row,), _, (ledger,) = run(pipeline, nets, [prompt], first_sample=number)
            assert (rows[number], ledgers[number].accepted) == (row, ledger.accepted)


def test_a_stop_rule_ends_rows_where_it_does_for_the_verifier_alone():
    """Nothing is decided beyond the state at which the verifier stops."""
    stopped = 0
    for seed in range(6):
        nets = networks(seed)
        verifier = alone(stop=(EndOfText(ids=tuple(range(12))),), length=None)
        expected = together(verifier, nets)
        stopped += sum(row.count(expected.mask_id) > 0 for row in expected.rows)
        for draft in (drafter("verifier", length=None), drafter(length=None)):
            assert expected.rows == together(procedure(verifier, draft), nets).rows
    assert stopped


@pytest.mark.parametrize(
    "cache", [Prompt(), FreeCache(), D2Cache(masks=2), DelayedDecode(prompt=True)], ids=str
)
def test_a_drafter_may_lose_its_very_first_draft(cache):
    """Then nothing is stored of the row again, whatever pass of the drafter comes next."""
    parts = {"judge": Likely(threshold=1.5), "scope": Elementwise(), "view": AfterDraft()}
    for seed in range(2):
        nets = networks(seed)
        pipeline = procedure(draft=drafter(cache=cache), schedule=GrowAndShrink(first=2), **parts)
        rows, _, ledgers = run(pipeline, nets)
        assert all(ledger.proposed and not ledger.accepted for ledger in ledgers)
        (row,), _, (ledger,) = run(pipeline, nets, [PROMPTS[1]], first_sample=1)
        assert (rows[1], ledgers[1].proposed) == (row, ledger.proposed)


def test_a_text_that_does_not_stand_decides_nothing():
    """Where a guess went back, `when-whole` takes no step out of the pass that had read it."""
    returned = added = 0
    for seed in range(4):
        parts = {"judge": Likely(threshold=0.04), "view": LeaveOneOut(), "scope": Elementwise()}
        pipeline = procedure(bonus=WhenWhole(), schedule=Fixed(steps=2), **parts)
        _, records, _ = run(pipeline, networks(seed))
        for audit in (record.audit for record in records if record.audit is not None):
            lossy_B = audit.returned_BN.any(dim=1)
            assert not (audit.bonus_BN & lossy_B[:, None]).any()
            returned += int(lossy_B.sum())
            added += int((audit.bonus_BN & audit.drafted_BN.any(dim=1)[:, None]).sum())
    assert returned
    assert added


SPOKEN = WhenLogits(condition=Condition(step=(2, 5)), then=RepetitionPenalty(penalty=9.0))
COOLING = Temperature(temperature=Linear(start=3.0, stop=0.2, over="steps"))
LATE_END = EndPenalty(steps=6, strength=9.0)


@pytest.mark.parametrize("edit", [SPOKEN, COOLING, LATE_END], ids=lambda edit: edit.name)
def test_what_goes_by_steps_goes_by_those_of_each_state(edit):
    """Invariant 2 where a rule changes from step to step, and states are several steps apart."""
    for seed in range(2):
        sampler = Categorical(temperature=1.0) if edit is COOLING else GreedySampler()
        pipeline = alone(transfer=Quota(steps=4), logits=(edit,), sample=sampler)
        nets = networks(seed)
        expected = together(pipeline, nets)
        found = together(procedure(pipeline, Knowing(trace=expected.trace, wrong=5)), nets)
        assert expected.rows == found.rows
        counts = [each.executed["verifier"].forwards for each in (found, expected)]
        assert counts[0] < counts[1]


def test_the_last_rounds_belong_to_the_verifier():
    """After max_rounds it decodes alone."""
    nets = networks(2)
    pipeline = attrs.evolve(procedure(judge=Transition()), max_rounds=1)
    _, records, _ = run(pipeline, nets)
    phases = [record.phase for record in records]
    assert {"verify"} == set(phases[phases.index("verify") :])


def test_records_follow_each_other():
    """What one record shows at its end, the next one shows at its start."""
    for parts in ({}, {"view": LeaveOneOut(), "judge": Greedy(), "scope": Elementwise()}):
        _, records, _ = run(procedure(**parts), networks(4))
        for before, after in pairwise(records):
            assert torch.equal(before.after_BN, after.before_BN)
        assert list(range(len(records))) == [record.step for record in records]


FROM_LOOSE_TO_STRICT = [
    [Likely(threshold=value) for value in (0.0, 0.1, 0.3, 0.9, 1.1)],
    [Divergence(threshold=value) for value in (9.0, 2.0, 0.5, 0.1, 0.0)],
    [Among(k=value) for value in (20, 9, 4, 2, 1)],
    [AmongLikely(k=9, ratio=value) for value in (0.0, 0.1, 0.5, 1.0)],
    [Typical(epsilon=value, delta=1.0) for value in (0.01, 0.05, 0.1, 0.5)],
]


@given(st.integers(0, 50), st.sampled_from(FROM_LOOSE_TO_STRICT))
def test_judges_are_monotone_in_their_threshold(seed, rules):
    """Invariant 14: a stricter threshold never passes more, on the same evidence."""
    draft, evidence, start = one_round(seed)
    passed = [rule.judge(draft, evidence, start).ok_BE for rule in rules]
    for loose_BE, strict_BE in pairwise(passed):
        assert not (strict_BE & ~loose_BE).any()
