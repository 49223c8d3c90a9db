"""The lossless composition gives what the verifier alone gives, whoever drafts."""

from __future__ import annotations

import pytest

from dlmkit_strategies.draft_verify import NgramTable, OwnTopChain
from dlmkit_strategies.sample import Categorical, Greedy
from dlmkit_strategies.transfer import Quota, Threshold, TopK
from tests.draft_verify.pieces import alone, drafter, networks, procedure, together

TRANSFERS = [TopK(k=1), Quota(steps=2), Threshold(threshold=0.3)]
SAMPLERS = [Greedy(), Categorical(temperature=0.7)]


@pytest.mark.parametrize("length", [None, 3])
@pytest.mark.parametrize("sample", SAMPLERS, ids=lambda each: each.name)
@pytest.mark.parametrize("transfer", TRANSFERS, ids=lambda each: each.name)
def test_the_output_is_the_verifiers(transfer, sample, length):
    """Invariant 2, with unrelated and related drafters, and invariant 8: never more passes."""
    verifier = alone(transfer=transfer, sample=sample, length=length)
    for seed in range(2):
        nets = networks(seed)
        expected = together(verifier, nets)
        for draft in (
            drafter(length=length),
            drafter("verifier", transfer=transfer, length=length),
            NgramTable(),
            OwnTopChain(),
        ):
            found = together(procedure(verifier, draft), nets)
            assert expected.rows == found.rows
            assert expected.executed.keys() == found.executed.keys()


def test_the_verifier_never_runs_more_often():
    """Invariant 8: a round decides at least what the verifier's own step would."""
    for seed in range(5):
        nets = networks(seed)
        most = together(alone(), nets).executed["verifier"].forwards
        assert together(procedure(), nets).executed["verifier"].forwards <= most
