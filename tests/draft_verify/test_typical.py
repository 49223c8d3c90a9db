"""Typical acceptance, entry by entry, as parallel prompt decoding calls it."""

from __future__ import annotations

from math import exp, log

import pytest

from dlmkit_strategies.draft_verify import Typical
from tests.draft_verify.evidence import one_round


@pytest.mark.parametrize("bounds", [(0.09, 0.3), (0.02, 0.9), (1.0, 1.0)])
def test_a_guess_passes_where_it_is_likely_for_how_sure_the_verifier_is(bounds):
    """Its probability exceeds min(epsilon, delta e^-H), of the whole law."""
    epsilon, delta = bounds
    passed = 0
    for seed in range(12):
        draft, evidence, start = one_round(seed)
        verdict = Typical(epsilon=epsilon, delta=delta).judge(draft, evidence, start)
        laws = evidence.entry.logits_BPV.double().softmax(dim=-1).tolist()
        for row, (law_E, tokens, oks) in enumerate(
            zip(laws, draft.token_BE.tolist(), verdict.ok_BE.tolist(), strict=True)
        ):
            for entry, (law, token, ok) in enumerate(zip(law_E, tokens, oks, strict=True)):
                entropy = -sum(p * log(p) for p in law if p > 0)
                assert ok == (law[token] > min(epsilon, delta * exp(-entropy))), (row, entry)
                passed += ok
    assert passed


def test_the_bounds_are_those_of_the_call():
    """The helper's own defaults are the other way round."""
    assert (0.09, 0.3) == (Typical().epsilon, Typical().delta)
