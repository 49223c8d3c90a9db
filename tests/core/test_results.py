"""Results: what a row gave and what it cost."""

from __future__ import annotations

import attrs

from dlmkit.accounts.ledger import PHASES, Ledger, Work
from dlmkit.accounts.results import Result

LEDGER = Ledger(work=dict.fromkeys(PHASES, Work()), prefill=dict.fromkeys(PHASES, Work()))
RESULT = Result(
    text="a b",
    token_ids=(5, 6, 7),
    tokens=3,
    nfe={"main": 4, "drafter": 2},
    fed_positions=60,
    ledger=LEDGER,
    weighted_bounds=(2.5, 6.0),
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
        "weighted_nfe_bounds": {"memory": 2.5, "arithmetic": 6.0},
        "weighted_nfe_missing": None,
        "ledger": LEDGER.as_json(),
    }
    assert expected == RESULT.as_json()


def test_a_missing_price_says_how_to_get_it():
    """The command, for the pipeline that ran."""
    found = attrs.evolve(RESULT, weighted_nfe=None).as_json()
    assert found["weighted_nfe"] is None
    assert "`dlmkit profile --pipeline llada`" in found["weighted_nfe_missing"]
