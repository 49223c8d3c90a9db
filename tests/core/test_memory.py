"""State of strategies: fresh for each decode, advanced once a step, forgotten where reopened."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.component import StateField
from dlmkit.denoise import Denoise
from dlmkit.errors import StrategyError
from dlmkit.loop.memory import Memory, parts
from dlmkit.roles import EarlyExit
from dlmkit.testing.plain import BestPosition, BestToken, ReopenDoubtful, TokenScore
from dlmkit.testing.toy import toy_network
from tests.core.runs import run

PROMPTS = [[3, 1, 4, 1], [5], [9, 2, 6, 5, 3, 5]]
SEEN = []


@attrs.frozen
class Counter(EarlyExit):
    """Counts steps by row, by position, and by position with a long memory."""

    name = "counter"
    state = (
        StateField("rows", "int64", 0, "B"),
        StateField("seen", "int64", 0),
        StateField("kept", "int64", 0, keep=True),
    )

    def decide(self, prediction, confidence_BP, view):
        return None

    def advance(self, outcome):
        now = outcome.view.recall(self)
        return {name: value + 1 for name, value in now.items()}


@attrs.frozen
class Careless(Counter):
    """Forgets a field."""

    name = "careless"

    def advance(self, outcome):
        return {"rows": outcome.view.recall(self)["rows"]}


class Spy(Counter):
    """Keeps every state it sees, outside of itself."""

    name = "spy"

    def decide(self, prediction, confidence_BP, view):
        SEEN.append({name: value.clone() for name, value in view.recall(self).items()})


def pipeline(*exits, **slots):
    return Denoise(
        sample=BestToken(),
        confidence=TokenScore(),
        transfer=BestPosition(),
        exit=exits,
        **slots,
    )


@pytest.fixture
def seen():
    SEEN.clear()
    return SEEN


def test_state_starts_fresh_in_every_decode(seen):
    """One object serves many decodes."""
    object_ = Spy()
    for _ in range(2):
        run(pipeline(object_), toy_network(), [[1]], 3)
    assert [0, 1, 2, 0, 1, 2] == [int(each["rows"]) for each in seen]


def test_an_object_in_two_slots_advances_once(seen):
    """It has one state, wherever it stands."""
    object_ = Spy()
    run(pipeline(object_, object_), toy_network(), [[1]], 2)
    assert [0, 0, 1, 1] == [int(each["rows"]) for each in seen]


def test_reopened_positions_forget_unless_they_keep(seen):
    """A count by position starts again where the position is a mask again."""
    run(pipeline(Spy(), revise=(ReopenDoubtful(),), max_steps=15), toy_network(6), PROMPTS, 8)
    last = seen[-1]
    assert (last["kept"] == len(seen) - 1).all()
    assert (last["seen"] < last["kept"]).any()


def test_a_strategy_that_loses_a_field_is_named():
    """The error says what it declares."""
    with pytest.raises(StrategyError, match=r"exit 'careless' returned state .*but declares"):
        run(pipeline(Careless()), toy_network(), [[1]], 2)


def test_state_has_the_declared_shape_and_type():
    """One value for each row, each position, or each position and token."""
    canvas = Canvas.create([[1, 2], [3]], 2, 23)

    @attrs.frozen
    class Wide(Counter):
        """Declares every kind."""

        name = "wide"
        state = (
            StateField("rows", "bool", 1, "B"),
            StateField("places", "float64", -1.0),
            StateField("tokens", "float32", 0.5, "BNV"),
        )

    owner = Wide()
    values = Memory(owner, canvas, 24).values[id(owner)]
    assert (torch.bool, (2,)) == (values["rows"].dtype, tuple(values["rows"].shape))
    assert (torch.float64, (2, 4)) == (values["places"].dtype, tuple(values["places"].shape))
    assert (torch.float32, (2, 4, 24)) == (values["tokens"].dtype, tuple(values["tokens"].shape))
    assert {-1.0} == set(values["places"].flatten().tolist())


def test_parts_walks_a_tree_from_the_outside_in():
    """The root, then what stands in its options, in their order."""
    root = pipeline(Counter())
    assert ["denoise", "best-token", "token-score", "counter", "best-position"] == [
        part.name for part in parts(root)
    ]
