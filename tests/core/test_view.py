"""Views: what is eligible, how far a row is, and nothing that could change under a strategy."""

from __future__ import annotations

import attrs
import pytest
import torch
from hypothesis import given

from dlmkit.canvas import Canvas
from dlmkit.errors import StrategyError
from dlmkit.noise import Noise
from dlmkit.testing.conformance.scenes import toy_info
from dlmkit.testing.generators import views
from dlmkit.view import View, whole_region, window


@given(views())
def test_eligible_positions_are_open_masks_of_the_block(view):
    """Masked, inside the block, in a row that is still decoded."""
    for row, positions in enumerate(view.positions_BP.tolist()):
        for index, position in enumerate(positions):
            expected = (
                bool(view.inside_BP[row, index])
                and bool(view.canvas.masked_BN[row, position])
                and int(view.block.start_B[row]) <= position < int(view.block.stop_B[row])
                and not bool(view.canvas.done_B[row])
            )
            assert expected == bool(view.eligible_BP[row, index])


@given(views())
def test_progress_is_the_share_of_decided_masks(view):
    """From 0 to 1, row by row."""
    left_B = view.canvas.masked_BN.sum(dim=1)
    expected = 1 - left_B / view.canvas.initial_masks_B
    assert torch.allclose(expected, view.progress_B)


@given(views())
def test_a_view_does_not_see_later_commits(view):
    """It is a snapshot; `after` is another one."""
    before = view.eligible_BP.clone()
    later = view.after(view.canvas)
    view.canvas.done_B = torch.ones_like(view.canvas.done_B)
    assert torch.equal(before, later.eligible_BP)


@given(views())
def test_rating_comes_before_deciding(view):
    """Nobody reads proposals that are not there yet."""
    with pytest.raises(StrategyError, match="are not known yet"):
        _ = view.proposal


def test_a_window_is_clamped_into_the_canvas():
    """Filler can be gathered, and is marked."""
    positions_BP, inside_BP = window(torch.tensor([1, 3]), torch.tensor([4, 5]), 3, 5)
    assert [[1, 2, 3], [3, 4, 4]] == positions_BP.tolist()
    assert [[True, True, True], [True, True, False]] == inside_BP.tolist()


def test_the_whole_region_reaches_from_the_first_mask_to_the_end():
    """Also where the rows differ."""
    span = whole_region(Canvas.create([[1, 9, 2], [9, 9, 9, 3]], 0, 9, infill=True))
    assert ([1, 0], [3, 4], 4) == (span.start_B.tolist(), span.stop_B.tolist(), span.width)


@pytest.mark.parametrize(("steps", "expected"), [(4, [8, 4]), (None, None)])
def test_each_row_plans_its_own_steps(steps, expected):
    """The longer row has two blocks of four, the shorter one; without a plan there is none."""
    mask = 9
    canvas = Canvas.create(
        [[1, mask, mask, mask, mask, mask], [1, 2, 3, mask]], 0, mask, infill=True
    )
    span = attrs.evolve(whole_region(canvas), width=4)
    positions_BP, inside_BP = window(span.start_B, span.stop_B, 4, 6)
    view = View(
        canvas=canvas,
        info=toy_info(),
        noise=Noise(0, canvas.samples_B, 0),
        step=0,
        block=span,
        block_step_B=torch.zeros(2),
        block_masks_B=canvas.initial_masks_B,
        positions_BP=positions_BP,
        inside_BP=inside_BP,
        steps_per_block=steps,
    )
    planned_B = view.planned_steps_B
    assert expected == (None if planned_B is None else planned_B.tolist())
