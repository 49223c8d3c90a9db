"""The canvas lays out rows on the right side of their prompts and protects what was given."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.errors import RequestError

MASK = 9


def positions(*rows):
    return torch.tensor(rows)


def test_rows_are_padded_on_the_right():
    """A row's positions do not depend on its neighbours; padding counts as given."""
    canvas = Canvas.create([[1, 2, 3], [4]], 2, MASK, first_sample=5)
    assert [[1, 2, 3, 9, 9], [4, 9, 9, 0, 0]] == canvas.tokens_BN.tolist()
    assert [[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]] == canvas.masked_BN.int().tolist()
    assert [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]] == canvas.inside_BN.int().tolist()
    assert ([3, 1], [5, 3]) == (canvas.start_B.tolist(), canvas.length_B.tolist())
    assert ([5, 6], [2, 2]) == (canvas.samples_B.tolist(), canvas.initial_masks_B.tolist())
    assert (2, True) == (canvas.region_width, canvas.ragged)


def test_padding_is_never_the_mask():
    """Even where the mask token has id 0."""
    canvas = Canvas.create([[1, 2], [1]], 1, 0)
    assert [[1, 2, 0], [1, 0, 1]] == canvas.tokens_BN.tolist()
    assert 2 == int(canvas.masked_BN.sum())


def test_infilling_starts_at_the_first_mask():
    """Masks inside the text are decided, text between them stays."""
    canvas = Canvas.create([[1, MASK, 2, MASK], [MASK, 3]], 0, MASK, infill=True)
    assert ([1, 0], [3, 2]) == (
        canvas.start_B.tolist(),
        (canvas.length_B - canvas.start_B).tolist(),
    )
    assert 3 == canvas.region_width
    assert [[0, 1, 0, 1], [1, 0, 0, 0]] == canvas.masked_BN.int().tolist()


def test_a_commit_notes_its_step_and_a_mask_forgets_it():
    """Reopened positions count as undecided again."""
    canvas = Canvas.create([[1, 2]], 2, MASK)
    where, tokens = torch.tensor([[True, True]]), torch.tensor([[5, 6]])
    canvas.commit(positions([2, 3]), where, tokens, 4)
    assert [[-1, -1, 4, 4]] == canvas.commit_step_BN.tolist()
    canvas.commit(positions([3, 2]), torch.tensor([[True, False]]), torch.tensor([[MASK, 7]]), 5)
    assert [[1, 2, 5, MASK]] == canvas.tokens_BN.tolist()
    assert [[-1, -1, 4, -1]] == canvas.commit_step_BN.tolist()


def test_records_keep_what_they_saw():
    """A commit makes new tensors; it never writes into those that others hold."""
    canvas = Canvas.create([[1]], 2, MASK)
    before = canvas.tokens_BN
    canvas.commit(positions([1, 2]), torch.tensor([[True, True]]), torch.tensor([[5, 6]]), 0)
    assert [[1, 9, 9]] == before.tolist()


@given(st.data())
def test_given_text_is_never_touched(data):
    """Whatever is committed wherever: prompt and padding stay as they were."""
    prompts = data.draw(
        st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=4), min_size=1, max_size=3)
    )
    canvas = Canvas.create(prompts, 3, MASK)
    given_BN, before = canvas.given_BN, canvas.tokens_BN
    rows, columns = before.shape
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    order = torch.stack([torch.randperm(columns, generator=generator) for _ in prompts])
    where = torch.rand(rows, columns, generator=generator) < 0.7
    tokens = torch.randint(0, 10, (rows, columns), generator=generator)
    canvas.commit(order, where, tokens, 1)
    assert torch.equal(before[given_BN], canvas.tokens_BN[given_BN])
    for row in range(rows):
        for index in range(columns):
            position = int(order[row, index])
            if where[row, index] and not given_BN[row, position]:
                assert int(tokens[row, index]) == int(canvas.tokens_BN[row, position])


@pytest.mark.parametrize(
    ("prompts", "length", "infill", "problem"),
    [
        ([], 4, False, "no prompt was given"),
        ([[1]], 0, False, "gen_length must be at least 1"),
        ([[1]], -1, True, "gen_length must be at least 1"),
        ([[1], [2, MASK]], 4, False, "prompt 2 contains the mask token"),
        ([[]], 0, True, "prompt 1 is empty"),
        ([[1, 2]], 0, True, "prompt 1 has no mask to fill"),
    ],
)
def test_bad_prompts_are_refused(prompts, length, infill, problem):
    """Each with what to do about it."""
    with pytest.raises(RequestError, match=problem) as caught:
        Canvas.create(prompts, length, MASK, infill=infill)
    assert caught.value.hint
    assert 2 == caught.value.exit_code
