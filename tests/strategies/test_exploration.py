"""Windows over several blocks, and pivots where few positions are sure: ETE-style."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dlmkit.denoise import Denoise
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.exploration import Explore, SlidingBlocks
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Threshold
from tests.strategies.steps import INFO, canvas_of, chosen, fresh

WIDTH = 6
ROW = st.lists(st.floats(0, 1), min_size=WIDTH, max_size=WIDTH)
SEEDS = st.integers(0, 2**16)


def spread(*scales: float) -> Tensor:
    """Logits of token 3, the flatter (more uncertain) the smaller the scale."""
    logits = torch.zeros(1, len(scales), INFO.vocab_size)
    logits[0, :, 3] = torch.tensor(scales)
    return logits


def drawn(seed: int) -> Tensor:
    """Random logits."""
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(1, WIDTH, INFO.vocab_size, generator=generator)


def test_enough_sure_positions_need_no_pivot() -> None:
    """Two sure ones are enough by default."""
    view = fresh([[0.95, 0.5, 0.92, 0.4]], spread(9, 2, 9, 1))
    assert [[0, 2]] == chosen(Explore(), view)


def test_a_stalled_row_takes_the_most_uncertain_likely_position() -> None:
    """Position 3 is the most uncertain, but under the floor; position 1 comes next."""
    view = fresh([[0.95, 0.5, 0.6, 0.2]], spread(9, 2, 4, 1))
    assert [[0, 1]] == chosen(Explore(floor=0.3), view)


def test_without_a_likely_position_the_best_one_is_taken() -> None:
    """Every step makes progress."""
    view = fresh([[0.1, 0.25, 0.2]], spread(1, 2, 3))
    assert [[1]] == chosen(Explore(floor=0.3), view)


def test_a_pivot_lies_near_the_start_and_does_not_end_the_text() -> None:
    """Position 0 ends the text and position 2 is out of reach, so position 1 is left."""
    logits = spread(1, 4, 1)
    logits[0, 0] = 0.0
    logits[0, 0, INFO.eos_ids[0]] = 1.0
    view = fresh([[0.5, 0.6, 0.5]], logits)
    assert [[1]] == chosen(Explore(reach=2), view)


@given(ROW, SEEDS)
def test_a_threshold_of_nothing_takes_everything(row: list[float], seed: int) -> None:
    """One round for each window."""
    assert [list(range(WIDTH))] == chosen(
        Explore(threshold=0.0, floor=0.0), fresh([row], drawn(seed))
    )


@given(ROW, SEEDS, st.floats(0, 1))
def test_a_floor_at_the_threshold_is_the_threshold_rule(
    row: list[float], seed: int, limit: float
) -> None:
    """Nothing lies between the two, so only the best position is left as a pivot."""
    view = fresh([row], drawn(seed))
    rule = Explore(threshold=limit, floor=limit, enough=1)
    assert chosen(Threshold(threshold=limit), view) == chosen(rule, view)


@pytest.mark.parametrize(
    ("tokens", "start", "stop", "index"),
    [
        ([None] * 8, 0, 4, 0),
        ([5, None, 5, 5, None, 5, 5, 5], 0, 4, 0),
        ([5, 5, None, None, None, None, None, None], 2, 6, 1),
        ([5, 5, 5, 5, 5, 5, 5, None], 6, 8, 3),
    ],
)
def test_the_window_starts_at_the_first_block_with_a_mask(
    tokens: list[int | None], start: int, stop: int, index: int
) -> None:
    """Two blocks of two; the last window is cut."""
    span = SlidingBlocks(length=2, count=2).current(canvas_of([tokens]))
    offset = 2  # the prompt of `canvas_of`
    assert (start + offset, stop + offset, index) == (
        int(span.start_B),
        int(span.stop_B),
        int(span.index_B),
    )


def test_a_window_of_one_block_is_fixed_blocks() -> None:
    """Identity of the method."""
    rest = {"sample": Greedy(), "confidence": Probability(), "transfer": Threshold(threshold=0.3)}
    one = Denoise(blocks=FixedBlocks(length=4), **rest)
    other = Denoise(blocks=SlidingBlocks(length=4, count=1), **rest)
    assert decode(one, toy_networks()) == decode(other, toy_networks())


def test_a_floor_above_the_threshold_is_refused() -> None:
    """A pivot could not be likelier than what is committed anyway."""
    problems = list(Explore.check_options({"threshold": 0.5, "floor": 0.6}))
    assert [("floor", "must not exceed `threshold`", "lower it, or raise `threshold`")] == problems
