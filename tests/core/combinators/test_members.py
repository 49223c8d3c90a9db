"""Exits, stop rules, guards and transforms made of several; what all combinations declare."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.combinators import (
    ChainGuard,
    ChainLogits,
    IntersectExit,
    IntersectStop,
    UnionExit,
    UnionStop,
    UnionTransfer,
    WhenLogits,
)
from dlmkit.need import Need
from tests.core.combinators.parts import (
    HALF_DONE,
    LEFT,
    ODD,
    RIGHT,
    SURE,
    Drop,
    Everything,
    Fixed,
    Leaves,
    Plus,
    Rows,
    Sampling,
    view,
)


def test_stop_rules_combine_by_rows():
    """Any, and all."""
    one, other = Rows((True, False)), Rows((True, True))
    assert [True, True] == UnionStop((one, other)).stop(view()).tolist()
    assert [True, False] == IntersectStop((one, other)).stop(view()).tolist()


def test_exits_combine_by_rows_with_their_own_scope():
    """A rule with nothing to say vetoes an intersection and is ignored in a union."""
    one, other, silent = Leaves((True, False)), Leaves((True, True)), Leaves(None)
    union = UnionExit((one, silent, other)).decide(None, SURE, view())
    both = IntersectExit((one, other), scope="canvas").decide(None, SURE, view())
    assert ([True, True], "block") == (union.rows_B.tolist(), union.scope)
    assert ([True, False], "canvas") == (both.rows_B.tolist(), both.scope)
    assert IntersectExit((one, silent)).decide(None, SURE, view()) is None
    assert UnionExit((silent, silent)).decide(None, SURE, view()) is None


def test_a_chain_applies_its_members_in_order():
    """Each sees what the one before left, cut to what is eligible."""
    logits_BPV = torch.zeros(2, 4, 3)
    assert 3.0 == ChainLogits((Plus(1.0), Plus(2.0))).edit(logits_BPV, view()).max()
    guarded_BP = ChainGuard((Drop(), Everything())).guard(ODD, SURE, view(eligible_BP=ODD))
    assert ODD.tolist() == guarded_BP.tolist()


def test_a_chain_has_the_stage_of_its_members():
    """Members of different stages are refused at check time."""
    assert "sampling" == ChainLogits((Sampling(1.0), Sampling(2.0))).stage
    assert "sampling" == WhenLogits(condition=HALF_DONE, then=Sampling(1.0)).stage
    found = list(ChainLogits.check_options({"of": (Sampling(1.0), Plus(1.0))}))
    assert [("of", "a chain holds transforms of one stage, score or sampling")] == [
        each[:2] for each in found
    ]


def test_a_combination_needs_two_members():
    """One rule alone needs no combinator."""
    with pytest.raises(ValueError, match="at least two members"):
        UnionTransfer((LEFT,))


def test_a_combination_declares_what_its_members_declare():
    """Checks and the loop see through it."""

    @attrs.frozen
    class Far(Fixed):
        """Reads, remembers and draws."""

        name = "far"
        need = Need(top=3, entropy=True)
        span = "region"
        history = True
        stochastic = True
        requires = frozenset({"hidden"})

    near, far = LEFT | RIGHT, LEFT | (RIGHT & Far((True,) * 4))
    assert ("region", True, True, False, {"hidden"}) == _declared(far)
    assert ("block", False, False, False, frozenset()) == _declared(near)
    assert Need(top=3, entropy=True) == far.needs()


def _declared(rule):
    return rule.span, rule.history, rule.stochastic, rule.reopens, rule.requires
