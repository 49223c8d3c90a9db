"""The account in results: stable keys, numbers that belong to each other, work by phase."""

from __future__ import annotations

import json

import attrs
import pytest

from dlmkit.accounts import ledger_keeper
from dlmkit.accounts.ledger import Ledger, Work
from dlmkit.accounts.ledger_keeper import LedgerKeeper
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.models.arch import AttentionPattern
from dlmkit.passes.session import Session
from dlmkit.testing.conformance.decoding import PROMPTS
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import BlockCausal, Dual, FeatureCache
from dlmkit_strategies.self_speculation import FreeDave
from dlmkit_strategies.transfer import TopK
from dlmkit_strategies.wino import Unsupported
from tests.draft_verify.pieces import alone, drafter, networks, procedure

GEN = 8
NOTHING = Work()
LEDGER = Ledger(
    rounds=3,
    proposed=10,
    accepted=6,
    corrected=1,
    bonus=3,
    by_position=((3, 3), (3, 2), (4, 1)),
    work={"decode": NOTHING, "draft": Work(10, 10, 200), "verify": Work(4, 14, 280)},
    prefill={"decode": NOTHING, "draft": Work(1, 1, 50), "verify": NOTHING},
)
BLOCKS = AttentionPattern(kind="block-causal", block=4)
BATCH = len(PROMPTS)
LONGEST = max(map(len, PROMPTS))


def account(pipeline, nets):
    """The ledgers of a decode of the toy prompts, and what its sessions counted."""
    mask_id = nets["verifier"].info.mask_id
    canvas = Canvas.create(PROMPTS, GEN, mask_id)
    sessions = {name: Session(network) for name, network in nets.items()}
    keeper = LedgerKeeper(BATCH, mask_id)
    for record in pipeline.steps(Context(sessions, 3), canvas):
        keeper.add(record)
    return keeper.ledgers(), {name: session.counts for name, session in sessions.items()}


def test_the_account_as_plain_data():
    """What `--json` prints."""
    assert {
        "rounds": 3,
        "proposed": 10,
        "accepted": 6,
        "corrected": 1,
        "remasked": 3,
        "bonus": 3,
        "reopened": 0,
        "lost": 0,
        "committed": 10,
        "acceptance": 0.6,
        "accepted_per_verify": 1.5,
        "tokens_per_forward": 0.7143,
        "tokens_per_verify": 2.5,
        "tokens_per_fed": 0.0208,
        "by_position": [[3, 3], [3, 2], [4, 1]],
        "forwards": {"decode": 0, "draft": 10, "verify": 4},
        "rows": {"decode": 0, "draft": 10, "verify": 14},
        "fed": {"decode": 0, "draft": 200, "verify": 280},
        "prefill": {
            "forwards": {"decode": 0, "draft": 1, "verify": 0},
            "rows": {"decode": 0, "draft": 1, "verify": 0},
            "fed": {"decode": 0, "draft": 50, "verify": 0},
        },
    } == json.loads(json.dumps(LEDGER.as_json()))


def test_plain_decoding_has_an_account_without_drafts():
    """Every token is the network's own; nothing of nothing is no share."""
    ledgers, counts = account(alone(), networks())
    assert BATCH * GEN == sum(ledger.bonus for ledger in ledgers)
    for ledger in ledgers:
        assert (GEN, 0, ()) == (ledger.committed, ledger.proposed, ledger.by_position)
        assert (None, None, 1.0) == (
            ledger.acceptance, ledger.tokens_per_verify, ledger.tokens_per_forward,
        )  # fmt: skip
        assert counts["verifier"].forwards == ledger.forwards["decode"]
        assert counts["verifier"].fed_positions == BATCH * ledger.fed["decode"]


def test_tokens_that_are_taken_back_are_counted_as_reopened():
    """What is committed is what stands at the end, however often it was decided."""
    wide = {"transfer": TopK(k=3), "revise": (Unsupported(threshold=1.0),)}
    wino = alone(length=None, max_steps=40, **wide)
    ledgers, _ = account(wino, networks())
    assert [GEN] * BATCH == [ledger.committed for ledger in ledgers]
    assert all(ledger.bonus == GEN + ledger.reopened for ledger in ledgers)
    assert any(ledger.reopened for ledger in ledgers)


def test_the_account_does_not_depend_on_when_canvases_are_compared(monkeypatch):
    """After every pass, after some, or at the end; layouts of other widths are never mixed."""
    network = toy_network()
    first, second = (Canvas.create([[3, 4]], length, network.info.mask_id) for length in (3, 5))
    ledgers = []
    for bunch in (1, 2, 64):
        monkeypatch.setattr(ledger_keeper, "_BUNCH", bunch)
        keeper = LedgerKeeper(1, network.info.mask_id)
        for canvas in (first, second):
            for record in alone().steps(
                Context({"verifier": Session(network)}), attrs.evolve(canvas)
            ):
                keeper.add(record)
        ledgers.append(keeper.ledgers())
    assert [8] == [ledger.committed for ledger in ledgers[0]]
    assert ledgers[0] == ledgers[1] == ledgers[2]


@pytest.mark.parametrize(
    ("cache", "attention"),
    [(Dual(), None), (BlockCausal(), BLOCKS), (FeatureCache(), None)],
    ids=["dual", "block-causal", "layers"],
)
def test_the_first_pass_over_an_empty_cache_is_prefill(cache, attention):
    """One for each network that has a cache, counted in its phase and apart."""
    nets = networks(attention=attention)
    plain, _ = account(alone(), nets)
    assert all(each == NOTHING for ledger in plain for each in ledger.prefill.values())
    cached, counts = account(alone(cache=cache), nets)
    for ledger in cached:
        prefill = ledger.prefill["decode"]
        assert (1, 1) == (prefill.forwards, prefill.rows)
        assert LONGEST <= prefill.fed <= LONGEST + GEN
        assert counts["verifier"].prefill_positions == BATCH * prefill.fed


def test_drafter_and_verifier_fill_their_caches_apart():
    """A prefill belongs to the phase in which it ran."""
    nets = networks(attention=BLOCKS)
    ledgers, _ = account(procedure(alone(cache=BlockCausal()), drafter(cache=Dual())), nets)
    for ledger in ledgers:
        assert {"decode": 0, "draft": 1, "verify": 1} == {
            phase: each.forwards for phase, each in ledger.prefill.items()
        }
    uncached, _ = account(procedure(alone(), drafter(cache=Dual())), nets)
    assert {0} == {ledger.prefill["verify"].forwards for ledger in uncached}


def test_a_pipeline_that_checks_its_own_steps_has_drafts():
    """The step on the prediction in hand is its own; what goes beyond is proposed."""
    for seed in range(3):
        nets = networks(seed)
        ledgers, counts = account(FreeDave(pipeline=alone("verifier"), drafts=4), nets)
        assert any(ledger.proposed > ledger.accepted > 0 for ledger in ledgers)
        assert counts["verifier"].forwards == max(ledger.forwards["verify"] for ledger in ledgers)
        for ledger in ledgers:
            assert GEN == ledger.committed == ledger.accepted + ledger.bonus
            assert ledger.proposed == sum(proposed for proposed, _ in ledger.by_position)
            assert ledger.accepted == sum(accepted for _, accepted in ledger.by_position)
