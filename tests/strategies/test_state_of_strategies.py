"""What strategies may remember, and when the step's proposals are known."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import pytest
import torch
from torch import Tensor

from dlmkit.component import StateField
from dlmkit.errors import StrategyError
from dlmkit.loop.memory import Memory
from dlmkit.outcome import Outcome
from dlmkit.roles import TransferRule
from dlmkit.view import View
from tests.strategies.steps import INFO, PROMPT, canvas_of, proposing, view_of


@attrs.frozen
class Notes(TransferRule):
    """Writes a 1 everywhere in each of its states."""

    name = "notes"
    state = (
        StateField("plain_BN", "int64", 0),
        StateField("kept_BN", "int64", 0, keep=True),
        StateField("token_BNV", "float32", 0.0, "BNV"),
        StateField("row_B", "int64", 0, "B"),
    )

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Everything."""
        return view.eligible_BP

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """Ones."""
        memory = outcome.view.recall(self)
        return {name: torch.ones_like(state) for name, state in memory.items()}


def test_a_reopened_position_is_forgotten_unless_it_is_kept() -> None:
    """By position and by token; what belongs to a row stays."""
    rule, canvas = Notes(), canvas_of([[4, None]])
    memory = Memory(rule, canvas, INFO.vocab_size)
    view = attrs.evolve(view_of(canvas), memory=memory.values)
    view = proposing(view, [[0.0, 0.5]])
    proposal, after_BN = view.proposal, view.tokens_BN.clone()
    after_BN[0, PROMPT] = view.canvas.mask_id
    memory.advance(
        Outcome(
            view=view,
            prediction=proposal.prediction,
            proposals_BP=proposal.tokens_BP,
            confidence_BP=proposal.confidence_BP,
            commit_BP=view.eligible_BP,
            before_BN=view.tokens_BN,
            after_BN=after_BN,
        )
    )
    state = memory.values[id(rule)]
    assert [[1, 1, 0, 1]] == state["plain_BN"].tolist()
    assert [[1, 1, 1, 1]] == state["kept_BN"].tolist()
    assert [[INFO.vocab_size] * 2 + [0, INFO.vocab_size]] == state["token_BNV"].sum(-1).tolist()
    assert [1] == state["row_B"].tolist()


def test_proposals_are_unknown_before_they_are_rated() -> None:
    """A scorer or sampler that asks for them is told where they may be read."""
    view = view_of(canvas_of([[None]]))
    with pytest.raises(StrategyError, match="proposals of step 0 are not known yet"):
        _ = view.proposal
    assert [[0.5]] == proposing(view, [[0.5]]).proposal.confidence_BP.tolist()
