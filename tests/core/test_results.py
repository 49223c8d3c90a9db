"""Results: what a row gave and what it cost."""

from __future__ import annotations

import attrs

from dlmkit.results import Result

RESULT = Result(
    text="a b",
    token_ids=(5, 6, 7),
    tokens=3,
    nfe={"main": 4, "drafter": 2},
    fed_positions=60,
    weighted_nfe=5.25,
    seconds=0.123456,
    masks_left=0,
    batch_size=2,
    pipeline="llada",
    spec_id="abc",
    seed=9,
)


def test_forwards_of_all_networks_count():
    """A drafter is not free."""
    assert 0.5 == RESULT.tokens_per_forward


def test_a_row_without_forwards_has_a_rate():
    """Nothing is divided by zero."""
    assert 3.0 == attrs.evolve(RESULT, nfe={"main": 0}).tokens_per_forward


def test_json_holds_every_number():
    """Seconds and rates are rounded, counts are not."""
    expected = {
        "text": "a b",
        "tokens": 3,
        "nfe": {"main": 4, "drafter": 2},
        "fed_positions": 60,
        "tokens_per_forward": 0.5,
        "seconds": 0.1235,
        "pipeline": "llada",
        "spec_id": "abc",
        "seed": 9,
        "masks_left": 0,
        "batch_size": 2,
        "weighted_nfe": 5.25,
        "ledger": None,
    }
    assert expected == RESULT.as_json()
