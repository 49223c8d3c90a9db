"""The exact cache of block-causal networks changes the cost and nothing else.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.roles import Reviser, Revision
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import BlockCausal
from dlmkit_strategies.transfer import Quota, Threshold
from tests.strategies.cache.decodes import CAUSAL, NEW, PROMPTS, decode, pipeline


@attrs.frozen
class Regret(Reviser):
    """Reopens the first generated position in steps 5 and 9.  Source: dlmkit."""

    name = "regret"
    reopens = True
    span = "region"

    def revise(self, prediction, view):
        """The first position of the region, where it is decided."""
        first_BP = view.positions_BP == view.canvas.start_B[:, None]
        now = view.step in (5, 9)
        return Revision(first_BP & now, torch.full_like(view.positions_BP, view.canvas.mask_id))


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("length", [2, 3, 4, 6, 12])
@pytest.mark.parametrize("rule", [Quota(steps=2), Threshold(0.4)], ids=["quota", "threshold"])
def test_tokens_are_those_of_whole_passes(shift, length, rule):
    """Whatever the decoding blocks are, and wherever the prompt ends in an attention block."""
    network = toy_network(attention=CAUSAL, logit_shift=shift)
    slots = {"length": length, "transfer": rule, "network": network}
    assert decode(None, **slots)[0] == decode(BlockCausal(), **slots)[0]


def test_causal_networks_are_served_too():
    """A causal network is block-causal with blocks of one."""
    network = toy_network(attention=AttentionPattern(kind="causal"))
    assert decode(None, network=network)[0] == decode(BlockCausal(), network=network)[0]


def test_a_reopened_token_leaves_the_store():
    """Revisers may change what was stored; everything after it is computed again."""
    network = toy_network(attention=CAUSAL)
    rows = []
    for cache in (None, BlockCausal()):
        canvas = Canvas.create(PROMPTS, NEW, network.info.mask_id)
        procedure = attrs.evolve(pipeline(cache), revise=(Regret(),), max_steps=40)
        list(procedure.steps(Context({"main": Session(network)}), canvas))
        rows.append(canvas.tokens_BN)
    assert torch.equal(*rows)


def test_stored_blocks_are_those_of_one_whole_pass():
    """Keys and values of finished blocks do not depend on when they were computed."""
    network = toy_network(attention=CAUSAL)
    rows, session = decode(BlockCausal(), [PROMPTS[0]], network=network)
    canvas = Canvas.create(rows, 1, network.info.mask_id)
    whole = Session(network)
    positions_BP = torch.zeros(1, 1, dtype=torch.int64)
    plan = Plan.full(canvas.tokens_BN, commit=True)
    whole.predict([canvas.tokens_BN], canvas, positions_BP, plan, Need())
    filled_N = session.store.filled_BN[0]
    assert filled_N.sum() > 2 * 4
    for field in ("keys_YBGCE", "values_YBGCE"):
        expected = getattr(whole.store.content, field)[:, 0, :, : len(filled_N)][:, :, filled_N]
        found = getattr(session.store.content, field)[:, 0][:, :, filled_N]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
