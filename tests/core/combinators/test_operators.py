"""`|` and `&`: union and intersection of two parts of a role."""

from __future__ import annotations

import pytest

from dlmkit.combinators import (
    IntersectExit,
    IntersectTransfer,
    UnionExit,
    UnionStop,
    UnionTransfer,
)
from tests.core.combinators.parts import LEFT, NOTHING, RIGHT, Leaves, Rows, Says

SILENT, FIRST, NONE = Leaves(None), Rows((True, False)), Rows((False, False))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (LEFT | RIGHT, UnionTransfer((LEFT, RIGHT))),
        (LEFT | RIGHT | NOTHING, UnionTransfer((LEFT, RIGHT, NOTHING))),
        (LEFT & RIGHT, IntersectTransfer((LEFT, RIGHT))),
        (LEFT | RIGHT & NOTHING, UnionTransfer((LEFT, IntersectTransfer((RIGHT, NOTHING))))),
        (FIRST | NONE, UnionStop((FIRST, NONE))),
        (SILENT & SILENT, IntersectExit((SILENT, SILENT))),
    ],
)
def test_operators_are_union_and_intersect(written, meant):
    """A chain of the same operator has one level."""
    assert meant == written


def test_an_exit_with_another_scope_is_not_opened_by_the_operator():
    """Its scope would be lost."""
    canvas = UnionExit((SILENT, SILENT), scope="canvas")
    assert UnionExit((canvas, SILENT)) == canvas | SILENT


@pytest.mark.parametrize("other", [Says(1), 3, None, Rows((True, True))])
def test_operators_refuse_what_is_not_of_the_same_role(other):
    """Python's own TypeError says which types."""
    with pytest.raises(TypeError, match="unsupported operand"):
        LEFT | other


def test_roles_without_a_union_have_no_operator():
    """Two samplers cannot both propose the token."""
    with pytest.raises(TypeError, match="unsupported operand"):
        Says(1) | Says(2)
