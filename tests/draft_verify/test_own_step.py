"""WINO as draft and verify: every pass checks one draft and makes the next."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.testing.conformance import conformance_cases
from dlmkit_strategies.cache import DelayedDecode, FreeCache
from dlmkit_strategies.draft_verify import (
    Elementwise,
    Fixed,
    LeaveOneOut,
    Likely,
    LikelyOrBest,
    OwnStep,
    Remask,
)
from dlmkit_strategies.transfer import Threshold
from dlmkit_strategies.wino import Unsupported
from tests.draft_verify.evidence import one_round
from tests.draft_verify.pieces import alone, networks, procedure, together

RULE = Threshold(threshold=0.2)


def drafting(threshold):
    return procedure(
        alone(transfer=RULE),
        OwnStep(),
        view=LeaveOneOut(),
        judge=LikelyOrBest(threshold=threshold),
        scope=Elementwise(),
        resolve=Remask(),
        bonus=None,
        schedule=Fixed(steps=1),
    )


def test_where_nothing_is_taken_back_it_is_the_reviser():
    """A bar of 0 for what stays: both forms are the transfer rule alone."""
    for seed in range(4):
        nets = networks(seed)
        reviser = alone(transfer=RULE, revise=(Unsupported(threshold=0.0),), max_steps=40)
        assert together(reviser, nets).rows == together(drafting(0.0), nets).rows


@pytest.mark.parametrize("threshold", [0.3, 0.9, 1.1])
def test_every_round_keeps_something(threshold):
    """Of what is drafted at least one token stands, so no row stands still."""
    for seed in range(3):
        found = together(drafting(threshold), networks(seed))
        assert all(found.mask_id not in row for row in found.rows)


def test_a_cache_of_the_verifier_is_not_told_of_its_passes():
    """Whatever that remembers: what is drafted in the first round comes from a pass over all."""
    for cache in (FreeCache(), DelayedDecode()):
        nets = networks(1)
        found = together(attrs.evolve(drafting(0.0), verifier=alone(cache=cache)), nets)
        assert all(found.mask_id not in row for row in found.rows)


def test_the_likeliest_guess_passes_whatever_the_bar():
    """One more than the bar passes, and only where none would have been it."""
    draft, evidence, start = one_round(3, LeaveOneOut())
    for threshold in (0.0, 0.2, 1.5):
        plain = Likely(threshold=threshold).judge(draft, evidence, start).ok_BE
        found = LikelyOrBest(threshold=threshold).judge(draft, evidence, start).ok_BE
        assert (found | plain).equal(found)
        assert (found.sum(dim=1) == plain.sum(dim=1).clamp_min(1)).all()


@pytest.mark.parametrize(
    "case", [*conformance_cases(OwnStep()), *conformance_cases(LikelyOrBest())], ids=str
)
def test_conformance(case):
    """The promises of every drafter and judge."""
    case.run()
