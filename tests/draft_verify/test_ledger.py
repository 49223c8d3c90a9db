"""The account in results: stable keys, and numbers that belong to each other."""

from __future__ import annotations

import json

from dlmkit.draft_verify.ledger import Ledger

LEDGER = Ledger(
    rounds=3,
    proposed=10,
    accepted=6,
    corrected=1,
    bonus=3,
    lost=0,
    by_position=((3, 3), (3, 2), (4, 1)),
    forwards={"draft": 10, "verify": 4},
    rows={"draft": 10, "verify": 14},
    fed={"draft": 200, "verify": 280},
)


def test_the_account_as_plain_data():
    """What `--json` prints."""
    assert {
        "rounds": 3,
        "proposed": 10,
        "accepted": 6,
        "corrected": 1,
        "remasked": 3,
        "bonus": 3,
        "lost": 0,
        "committed": 10,
        "acceptance": 0.6,
        "accepted_per_verify": 1.5,
        "tokens_per_forward": 0.7143,
        "tokens_per_verify": 2.5,
        "tokens_per_fed": 0.0208,
        "by_position": [[3, 3], [3, 2], [4, 1]],
        "forwards": {"draft": 10, "verify": 4},
        "rows": {"draft": 10, "verify": 14},
        "fed": {"draft": 200, "verify": 280},
    } == json.loads(json.dumps(LEDGER.as_json()))


def test_without_a_draft_there_is_no_acceptance():
    """Nothing of nothing is no share."""
    empty = Ledger(
        rounds=0, proposed=0, accepted=0, corrected=0, bonus=2, lost=0, by_position=(),
        forwards={"draft": 0, "verify": 2}, rows={"draft": 0, "verify": 2},
        fed={"draft": 0, "verify": 20},
    )  # fmt: skip
    assert empty.acceptance is None
    assert empty.as_json()["acceptance"] is None
    assert 1.0 == empty.tokens_per_verify
