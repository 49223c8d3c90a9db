"""Invariant 9 of the drafter's cache: it knows what stands, and nothing that was sent back."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.play import Play
from dlmkit.passes.session import Session
from dlmkit.testing.conformance.decoding import PROMPTS
from dlmkit_strategies.cache import BlockCausal, DelayedDecode, Dual
from dlmkit_strategies.cache import Prefix as PrefixCache
from dlmkit_strategies.draft_verify import (
    AfterDraft,
    BeforeDraft,
    Elementwise,
    Greedy,
    LeaveOneOut,
    ModelSteps,
    Remask,
    ReplaceAll,
)
from dlmkit_strategies.sample import Greedy as Likeliest
from tests.draft_verify.compositions import GEN
from tests.draft_verify.drawn import SCHEDULES, nets, pipelines
from tests.draft_verify.pieces import alone, networks, procedure
from tests.draft_verify.test_verifier_cache import BLOCKS, fresh

APPROXIMATE = st.sampled_from([Dual(), Dual(before=2), PrefixCache(), DelayedDecode(refresh=3)])
GUESSERS = st.sampled_from(["drafter", "verifier"]).flatmap(
    lambda name: pipelines(name, APPROXIMATE, st.just(Likeliest()))
)


def begun(pipeline, nets):
    """A decode of the toy prompts that has not begun yet."""
    canvas = Canvas.create(PROMPTS, GEN, nets["verifier"].info.mask_id)
    sessions = {name: Session(network) for name, network in nets.items()}
    return Play.begin(pipeline, Context(sessions, 0), canvas)


def contents(store, row, where_N):
    """Keys and values of some positions of a row."""
    rooms = (store.content.keys_YBGCE, store.content.values_YBGCE)
    return [room[:, row].transpose(1, 2)[:, where_N] for room in rooms]


@settings(max_examples=15)
@given(
    nets(), GUESSERS, SCHEDULES, st.sampled_from([BeforeDraft(), AfterDraft(), LeaveOneOut()]),
    st.sampled_from([Remask(), ReplaceAll()]),
)  # fmt: skip
def test_an_approximate_cache_forgets_what_was_sent_back(networks, drafting, schedule, view, then):
    """After each round, rows that lost a guess hold what they held before it."""
    parts = {"judge": Greedy(), "scope": Elementwise(), "resolve": then, "view": view}
    draft = ModelSteps(pipeline=drafting)
    play = begun(procedure(alone(), draft, schedule=schedule, **parts), networks)
    while play.goes_on():
        before = play.run.session.store and play.run.session.store.snapshot()
        lost_B = torch.zeros(len(PROMPTS), dtype=torch.bool)
        for record in play.round():
            if record.audit is not None:
                lost_B = lost_B | (record.audit.drafted_BN & ~record.audit.kept_BN).any(dim=1)
        store = play.run.session.store
        if store is None:
            continue
        stands_BN = (store.tag_BN == play.canvas.mask_id) | (store.tag_BN == play.canvas.tokens_BN)
        assert bool((stands_BN | ~store.filled_BN).all())
        for row in lost_B.nonzero()[:, 0].tolist():
            filled_N = torch.zeros_like(store.filled_BN[row])
            if before is not None:
                filled_N = before.filled_BN[row]
                pairs = zip(
                    contents(before, row, filled_N), contents(store, row, filled_N), strict=True
                )
                assert all(torch.equal(one, other) for one, other in pairs)
            assert torch.equal(filled_N, store.filled_BN[row])


def test_a_drafter_with_an_exact_cache_holds_what_a_fresh_pass_stores():
    """At every position that its policy will read."""
    seen = 0
    for seed in range(3):
        nets = networks(seed, **BLOCKS)
        cache = BlockCausal()
        draft = ModelSteps(pipeline=alone("drafter", cache=cache))
        play = begun(procedure(alone(), draft), nets)
        while play.goes_on():
            for _ in play.round():
                pass
            stored_BN = play.run.memory.values[id(cache)]["stored"]
            found, expected = play.run.session.store, fresh(nets["drafter"], play.canvas)
            for row in range(len(PROMPTS)):
                ours, theirs = (contents(each, row, stored_BN[row]) for each in (found, expected))
                for one, other in zip(ours, theirs, strict=True):
                    assert torch.allclose(one, other, atol=1e-9)
            seen += int(stored_BN.sum())
    assert seen
