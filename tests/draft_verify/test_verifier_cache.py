"""Caches of the verifier: kept for the state that a round led to, and exact."""

from __future__ import annotations

import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.play import Play
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit_strategies.cache import BlockCausal, Dual, Prefix
from dlmkit_strategies.draft_verify import (
    AfterDraft,
    BeforeDraft,
    Causal,
    Elementwise,
    EveryState,
    Greedy,
    LeaveOneOut,
    NextToken,
    NgramTable,
    OwnTopChain,
    ReplaceAll,
    ReplaceFirst,
)
from dlmkit_strategies.draft_verify import Prefix as UpToFailure
from tests.draft_verify.pieces import alone, drafter, networks, procedure, together

BLOCKS = {"attention": AttentionPattern(kind="block-causal", block=4)}
LEFT = {"attention": AttentionPattern(kind="causal"), "logit_shift": 1}
GREEDY = {
    "view": Causal(), "judge": Greedy(), "scope": UpToFailure(order="position"),
    "resolve": ReplaceFirst(), "bonus": NextToken(),
}  # fmt: skip
CASES = {
    "states of blocks": (BLOCKS, 4, drafter(), {}),
    "own drafts of blocks": (BLOCKS, 4, drafter("verifier"), {}),
    "tables on blocks": (BLOCKS, 4, NgramTable(), {}),
    "text from the left": (LEFT, 1, drafter(length=1), GREEDY),
    "tables from the left": (LEFT, 1, NgramTable(), GREEDY),
}


@pytest.mark.parametrize("case", CASES)
def test_an_exact_cache_of_the_verifier_changes_nothing(case):
    """The same text in the same passes, over fewer positions."""
    options, length, draft, parts = CASES[case]
    for seed in range(3):
        nets = networks(seed, **options)
        found = {
            cache: together(procedure(alone(length=length, cache=cache), draft, **parts), nets)
            for cache in (None, BlockCausal())
        }
        plain, cached = found.values()
        assert together(alone(length=length), nets).rows == plain.rows
        assert plain.trace == cached.trace
        counts = [each.executed["verifier"] for each in (plain, cached)]
        assert counts[0].forwards == counts[1].forwards
        assert counts[1].fed_positions < counts[0].fed_positions


@pytest.mark.parametrize("case", CASES)
def test_what_is_stored_is_what_a_fresh_pass_computes(case):
    """After every round, at every position that later passes may read."""
    options, length, draft, parts = CASES[case]
    nets, cache = networks(1, **options), BlockCausal()
    pipeline = procedure(alone(length=length, cache=cache), draft, **parts)
    canvas = Canvas.create([[3, 1, 4], [1, 5, 9, 2, 6]], 8, nets["verifier"].info.mask_id)
    sessions = {name: Session(network) for name, network in nets.items()}
    play = Play.begin(pipeline, Context(sessions, 0), canvas)
    while play.goes_on():
        for _ in play.round():
            pass
        stored_BN = play.verifier.memory.values[id(cache)]["stored"]
        found, expected = play.verifier.stepper.session.store, fresh(nets["verifier"], canvas)
        for one, other in zip(contents(found), contents(expected), strict=True):
            assert torch.allclose(one[:, stored_BN], other[:, stored_BN], atol=1e-9)
    assert stored_BN.any()


APPROXIMATE = [Dual(), Dual(before=2), Prefix(), Prefix(horizon=2)]
VIEWS = [BeforeDraft(), AfterDraft(), LeaveOneOut(), EveryState()]


@pytest.mark.parametrize("cache", APPROXIMATE, ids=str)
@pytest.mark.parametrize("shift", [0, 1])
def test_an_approximate_cache_decides_what_it_decides_without_drafts(cache, shift):
    """Invariants 2 and 8 under the same cache: whoever drafts, in no more passes."""
    verifier, nets = alone(cache=cache), networks(2, logit_shift=shift)
    expected = together(verifier, nets)
    for draft in (NgramTable(), OwnTopChain(), drafter(), drafter("verifier", cache=Dual())):
        found = together(procedure(verifier, draft), nets)
        assert expected.rows == found.rows
        if draft != drafter("verifier", cache=Dual()):
            counts = [each.executed["verifier"] for each in (expected, found)]
            assert counts[1].forwards <= counts[0].forwards


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@pytest.mark.parametrize("cache", APPROXIMATE, ids=str)
def test_an_approximate_cache_never_holds_what_was_sent_back(cache, view):
    """What is stored is of the canvas as it stood when the row entered its block."""
    nets, parts = networks(1), {"judge": Greedy(), "scope": Elementwise(), "resolve": ReplaceAll()}
    pipeline = procedure(alone(cache=cache), drafter(), view=view, **parts)
    canvas = Canvas.create([[3, 1, 4], [1, 5, 9, 2, 6]], 8, nets["verifier"].info.mask_id)
    sessions = {name: Session(network) for name, network in nets.items()}
    play = Play.begin(pipeline, Context(sessions, 0), canvas)
    expected, seen = {}, 0
    while play.goes_on():
        renewing_B = play.verifier.renews_B(canvas).tolist()
        text = fresh(nets["verifier"], canvas)
        expected |= {row: contents(text) for row, renews in enumerate(renewing_B) if renews}
        for _ in play.round():
            store = play.verifier.stepper.session.store
            for row, stored in expected.items():
                filled_N = store.filled_BN[row]
                for one, other in zip(contents(store), stored, strict=True):
                    found, at_entry = one[:, row, filled_N], other[:, row, filled_N]
                    assert torch.allclose(found, at_entry, atol=1e-9)
                seen += int(filled_N.sum())
    assert seen


def fresh(network, canvas):
    """Keys and values of the canvas as it stands."""
    session, plan = Session(network), Plan.full(canvas.tokens_BN, commit=True)
    every_BP = canvas.columns_N.expand_as(canvas.tokens_BN)
    session.predict([canvas.tokens_BN], canvas, every_BP, plan, Need())
    return session.store


def contents(store):
    """Keys and values with rows and positions next to each other."""
    both = (store.content.keys_YBGCE, store.content.values_YBGCE)
    return [each.transpose(2, 3) for each in both]
