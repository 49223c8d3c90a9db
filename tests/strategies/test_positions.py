"""State by position is written where a step predicts, and nowhere else."""

from __future__ import annotations

import attrs
import torch

from dlmkit_strategies.positions import decided_here, read, write
from tests.strategies.steps import PROMPT, canvas_of, view_of


def test_a_write_reaches_its_positions_alone() -> None:
    """The prompt and unchosen positions keep their values."""
    view = view_of(canvas_of([[None, None, None]]))
    state_BN = torch.zeros(1, PROMPT + 3)
    values_BP, where_BP = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[True, False, True]])
    written_BN = write(state_BN, values_BP, where_BP, view)
    assert [[0.0, 0.0, 1.0, 0.0, 3.0]] == written_BN.tolist()
    assert [[1.0, 0.0, 3.0]] == read(written_BN, view).tolist()
    assert 0 == state_BN.count_nonzero()


def test_a_state_by_token_is_written_alike() -> None:
    """One vector for each position."""
    view = view_of(canvas_of([[None, None]]))
    values = torch.arange(4.0).reshape(1, 2, 2)
    written = write(torch.zeros(1, PROMPT + 2, 2), values, torch.tensor([[False, True]]), view)
    assert [[[0.0, 0.0], [2.0, 3.0]]] == read(written, view).tolist()


def test_a_position_without_a_prediction_is_not_written() -> None:
    """A cache may compute a part of the window; the rest keeps its history."""
    view = view_of(canvas_of([[None, None]]))
    view = attrs.evolve(view, predicted_BP=torch.tensor([[True, False]]))
    everywhere = torch.ones(1, 2, dtype=torch.bool)
    written = write(torch.zeros(1, PROMPT + 2), torch.tensor([[1.0, 2.0]]), everywhere, view)
    assert [[1.0, 0.0]] == read(written, view).tolist()


def test_given_text_and_masks_were_not_decided() -> None:
    """Only what the decode committed has a step."""
    assert [[-1, 0]] == decided_here(view_of(canvas_of([[None, 4]]))).tolist()
