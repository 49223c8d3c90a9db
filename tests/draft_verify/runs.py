"""Decodes with everything that tests ask of them, and a drafter that proposes nothing."""

from __future__ import annotations

import attrs

from dlmkit.accounts.ledger_keeper import LedgerKeeper
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.passes.session import Session
from dlmkit.testing.conformance.decoding import PROMPTS
from tests.draft_verify.compositions import GEN, unless_refused

__all__ = ["Silent", "run"]


def run(pipeline, nets, prompts=PROMPTS, seed=3, first_sample=0):
    """Decode; return the rows, the records and the account of each row."""
    mask_id = nets["verifier"].info.mask_id
    canvas = Canvas.create(prompts, GEN, mask_id, first_sample=first_sample)
    sessions = {name: Session(network) for name, network in nets.items()}
    keeper, records = LedgerKeeper(len(prompts), mask_id), []
    for record in unless_refused(pipeline.steps(Context(sessions, seed), canvas)):
        keeper.add(record)
        records.append(record)
    pairs = zip(canvas.tokens_BN.tolist(), canvas.length_B.tolist(), strict=True)
    return [tokens[:length] for tokens, length in pairs], records, keeper.ledgers()


@attrs.frozen
class Silent(Drafter):
    """Drafts nothing."""

    name = "silent"

    def begin(self, setting):
        return _Silent()


class _Silent(DraftRun):
    def draft(self, start):
        yield from ()
        return Draft.empty(len(start.budget_B))
