"""Caches that are not exact, as the verifier's: what a round sent back leaves no trace in them."""

from __future__ import annotations

import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.play import Play
from dlmkit.loop.memory import parts
from dlmkit.passes.session import Session
from dlmkit.plugins import get_plugins
from dlmkit.roles import CachePolicy
from dlmkit.testing.conformance.scenes import attention_for
from dlmkit.testing.examples import example_of
from dlmkit.testing.knowing import Knowing
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import (
    D2Cache,
    DelayedDecode,
    DelayedGreedy,
    Dual,
    FreeCache,
    Leadless,
    Prefix,
    Prompt,
    Recap,
    Refresh,
    Sparse,
)
from dlmkit_strategies.draft_verify import (
    AfterDraft,
    BeforeDraft,
    Elementwise,
    EveryState,
    Fixed,
    Greedy,
    LeaveGuessOut,
    LeaveOneOut,
    Remask,
)
from dlmkit_strategies.guide import ClassifierFree
from dlmkit_strategies.transfer import Quota
from tests.draft_verify.pieces import alone, networks, procedure, together
from tests.draft_verify.scripts import Recorded, Replayed

PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6]]
GEN = 8
AS_IF_IN_TURN = [
    Dual(before=1), Leadless(of=Dual()), Prompt(), Prompt(isolated=False), Sparse(),
    Sparse(delay=0, keep=0.3), FreeCache(), FreeCache(settle=True), Recap(light=2),
    Recap(light=3, full=1), Refresh(of=Dual(), every=3), Refresh(of=Prefix(), stale=2),
    Refresh(of=FreeCache(), at_block=True), Refresh(of=Prompt(), every=4),
]  # fmt: skip
FROM_BEFORE = [
    DelayedDecode(), DelayedDecode(refresh=3, whole=1), DelayedDecode(prompt=True, keep="used"),
    DelayedGreedy(refresh=4), D2Cache(masks=3), D2Cache(masks=2, confidence="first"),
    Refresh(of=D2Cache(masks=3), every=4),
]  # fmt: skip
STORING = [
    FreeCache(), Sparse(), Refresh(of=Dual(), every=3), DelayedDecode(refresh=3, whole=1),
    DelayedGreedy(refresh=4), D2Cache(masks=3),
]  # fmt: skip
"""Policies that store in most passes, or choose by what one of them saw."""
VIEWS = [BeforeDraft(), AfterDraft(), LeaveOneOut(), LeaveGuessOut(), EveryState()]


def verifier(cache, length=4):
    """One token in each step, of a rule that says so beforehand."""
    return alone(cache=cache, length=length, transfer=Quota(steps=length))


def knowing(pipeline, nets, wrong=3):
    """A drafter that knows what the pipeline decodes alone, but for some guesses."""
    return Knowing(trace=together(pipeline, nets).trace, wrong=wrong)


def playing(pipeline, nets):
    """Rounds of a decode, one at a time: the play after each of them."""
    canvas = Canvas.create(PROMPTS, GEN, nets["verifier"].info.mask_id)
    sessions = {name: Session(network) for name, network in nets.items()}
    play = Play.begin(pipeline, Context(sessions, 0), canvas)
    while play.goes_on():
        for _ in play.round():
            pass
        yield play


@pytest.mark.parametrize("cache", AS_IF_IN_TURN, ids=str)
@pytest.mark.parametrize("shift", [0, 1])
def test_states_side_by_side_read_what_they_would_in_turn(cache, shift):
    """Invariants 2 and 8 under the same cache, with right and wrong guesses at every place."""
    fewer = 0
    for length in (4, 8):
        pipeline, nets = verifier(cache, length), networks(3, logit_shift=shift)
        expected = together(pipeline, nets)
        for wrong in (3, 99):
            draft = Knowing(trace=expected.trace, wrong=wrong)
            found = together(procedure(pipeline, draft, schedule=Fixed(steps=4)), nets)
            assert expected.rows == found.rows
            counts = [each.executed["verifier"].forwards for each in (found, expected)]
            assert counts[0] <= counts[1]
            fewer += counts[1] - counts[0]
    assert fewer


@pytest.mark.parametrize("cache", [*AS_IF_IN_TURN, *FROM_BEFORE], ids=str)
def test_what_was_sent_back_leaves_no_trace(cache):
    """Store, memory and text are those of a run that never drafted it."""
    nets, pipeline, stood = networks(1), verifier(cache, length=8), 0
    for wrong in (2, 4):
        draft = Recorded(of=knowing(pipeline, nets, wrong))
        played = [held(play) for play in playing(procedure(pipeline, draft), nets)]
        replay = procedure(pipeline, Replayed(drafts=draft.kept))
        again = [held(play) for play in playing(replay, nets)]
        stood += sum(int(kept.valid_BE.sum()) for kept in draft.kept)
        assert len(played) == len(again)
        for one, other in zip(played, again, strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                assert torch.allclose(value, other[name], atol=1e-9), name
    assert stood


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@pytest.mark.parametrize("cache", STORING, ids=str)
def test_nothing_is_stored_of_a_text_that_does_not_stand(cache, view):
    """Each stored position was computed from its token or from a mask, in such a text as well."""
    if view.needs().shadow and any(getattr(part, "by_layer", False) for part in parts(cache)):
        return  # refused, see test_checks
    nets, pipeline = networks(1), verifier(cache)
    parts_of = {"view": view, "judge": Greedy(), "scope": Elementwise(), "resolve": Remask()}
    draft = knowing(pipeline, nets, wrong=2)
    before = {}
    for play in playing(procedure(pipeline, Recorded(of=draft), **parts_of), nets):
        store, canvas = play.verifier.stepper.session.store, play.canvas
        masked_BN = store.tag_BN == canvas.mask_id
        assert (masked_BN | (store.tag_BN == canvas.tokens_BN) | ~store.filled_BN).all()
        seen_BN = play.verifier.dates.seen_BN
        assert ((seen_BN == canvas.mask_id) | (seen_BN == canvas.tokens_BN)).all()
        now = held(play)
        for row in range(len(PROMPTS)) if before else ():
            if torch.equal(before["seen"][row], now["seen"][row]):
                for name in ("keys", "values", "tag"):
                    assert torch.equal(before[name][row], now[name][row])
        before = now
    assert store.filled_BN.any()


@pytest.mark.parametrize("prompt", [False, True])
def test_a_refresh_is_never_leapt_over(prompt):
    """However much of a draft is right, whole passes come when they are due, and the rest leaps."""
    cache = DelayedDecode(refresh=4, whole=1, prompt=prompt)
    nets, pipeline = networks(3), verifier(cache, length=8)
    draft = knowing(pipeline, nets, wrong=99)
    plays = playing(procedure(pipeline, draft, schedule=Fixed(steps=6)), nets)
    steps = [play.verifier.root(play.canvas).block_step_B.tolist() for play in plays]
    for row in zip(*steps[:-1], strict=True):
        assert 4 in row
        assert {2, 3} - set(row)


def test_variants_keep_stored_rows_of_their_own():
    """A guided verifier under a cache decides what it does alone."""
    pipeline, nets = alone(cache=Dual(), guide=ClassifierFree(scale=2.0)), networks(2)
    expected = together(pipeline, nets)
    for wrong in (2, 99):
        draft = Knowing(trace=expected.trace, wrong=wrong)
        assert expected.rows == together(procedure(pipeline, draft), nets).rows


def registered():
    """An example of each registered policy that is not exact and not about layers."""
    registry = get_plugins().registry
    classes = [offer.cls for role in registry.roles() for offer in registry.offers(role)]
    for offer in registry.offers("cache"):
        policy = example_of(offer.cls, classes)
        if not policy.exact() and "layer-steps" not in policy.requires:
            yield policy


@pytest.mark.parametrize("cache", list(registered()), ids=lambda cache: cache.name)
def test_every_registered_policy_may_be_the_verifiers(cache):
    """And is the policy alone where it says so."""
    pipeline, attention = verifier(cache), attention_for(cache)
    nets = {"verifier": toy_network(1, attention=attention)}
    expected = together(pipeline, nets)
    draft = Knowing(trace=expected.trace)
    found = together(procedure(pipeline, draft), nets)
    assert expected.mask_id not in {token for row in found.rows for token in row}
    if cache.forks():
        assert expected.rows == found.rows


def held(play):
    """Everything that a verifier goes on from, each row first."""
    store, owners = play.verifier.stepper.session.store, parts(play.procedure.verifier)
    policies = [part for part in owners if isinstance(part, CachePolicy) and part.state]
    memory = {
        f"{owner.name} {name}": value
        for owner in policies
        for name, value in play.verifier.memory.values[id(owner)].items()
    }
    content, filled_BN11 = store.content, store.filled_BN[..., None, None, None]
    return {
        "text": play.canvas.tokens_BN,
        "seen": play.verifier.dates.seen_BN,
        "tag": store.tag_BN,
        "keys": content.keys_YBGCE.permute(1, 3, 0, 2, 4) * filled_BN11,
        "values": content.values_YBGCE.permute(1, 3, 0, 2, 4) * filled_BN11,
    } | {name: value.double().nan_to_num(neginf=-9) for name, value in memory.items()}
