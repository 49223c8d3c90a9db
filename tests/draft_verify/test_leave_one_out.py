"""The views `loo` and `loo-guesses`: a query of its own for each position, or each guess."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.testing.conformance.decoding import GEN_LENGTH
from dlmkit_strategies.draft_verify import Elementwise, Fixed, Greedy, LeaveGuessOut, LeaveOneOut
from tests.draft_verify.evidence import one_round
from tests.draft_verify.pieces import networks, procedure, together


def _view(whole_block):
    return LeaveOneOut() if whole_block else LeaveGuessOut()


def every_shadow(draft, evidence, *, meet):
    """What shadows of all positions say at the drafted ones."""
    canvas = evidence.canvas.snapshot()
    canvas.tokens_BN = draft.written(canvas, draft.valid_BE)
    every_BP = canvas.columns_N.expand_as(canvas.tokens_BN)
    in_block_BP = evidence.root.positions_BP if meet else every_BP
    plan = attrs.evolve(Plan.full(canvas.tokens_BN), shadow_BH=in_block_BP, shadows_meet=meet)
    (found,) = Session(evidence.stepper.session.network).predict(
        [canvas.tokens_BN], canvas, every_BP, plan, Need(logits=True)
    )
    first_B1 = in_block_BP[:, :1]
    index_BEV = (draft.position_BE - first_B1)[..., None].expand(-1, -1, 24)
    return found.shadow.logits_BPV.gather(1, index_BEV)


@pytest.mark.parametrize("whole_block", [False, True])
def test_a_guess_is_rated_by_its_shadow(whole_block):
    """Whether only guesses have one, or all positions of the block, as in WINO."""
    for seed in range(3):
        draft, evidence, _ = one_round(seed, _view(whole_block))
        expected = every_shadow(draft, evidence, meet=whole_block)
        found = evidence.entry.logits_BPV
        assert torch.allclose(expected, found, rtol=0, atol=1e-9)


def test_only_guesses_cost_a_position():
    """A pass feeds the canvas and one more position for each guess, not one for the block."""
    parts = {"judge": Greedy(), "scope": Elementwise(), "schedule": Fixed(steps=1), "bonus": None}
    fed = {}
    for whole_block in (False, True):
        pipeline = procedure(view=_view(whole_block), **parts)
        counts = together(pipeline, networks(1), prompts=[[3, 1, 4]]).executed["verifier"]
        fed[whole_block] = counts.fed_positions / counts.forwards
    columns = len([3, 1, 4]) + GEN_LENGTH
    assert columns < fed[False] <= columns + 1  # a row that stood still is looked at once more
    assert columns + 1 < fed[True]
