"""Rules that take back tokens: RCR and Saber, and the blocks that stay open for them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.denoise import Denoise
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit.view import View
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.fading import ReopenFaded
from dlmkit_strategies.frontier import GrowingBlocks
from dlmkit_strategies.ratio_rules import (
    Everything,
    RatioQuota,
    ReopenPlanned,
    ReopenRecorded,
)
from dlmkit_strategies.remdm import FillAndRefill, ReopenUnlikely
from dlmkit_strategies.saber_rules import AboveMean, Backtrack
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import TopK
from tests.strategies.steps import (
    INFO,
    canvas_of,
    chosen,
    fresh,
    next_view,
    proposing,
    select,
    view_of,
)

ROW = st.lists(st.floats(0, 1), min_size=6, max_size=6)


def committed(view: View, commit_BP: torch.Tensor) -> View:
    """The view a reviser gets: after the commits of its step."""
    canvas = attrs.evolve(view.canvas)
    canvas.commit(view.positions_BP, commit_BP, view.proposal.tokens_BP, view.step)
    return view.after(canvas)


def reopened(reviser: Any, view: View) -> list[int]:
    """Window positions of the first row that are taken back."""
    revision = reviser.revise(view.proposal.prediction, view)
    found: list[int] = revision.where_BP[0].nonzero()[:, 0].tolist()
    return found


@pytest.mark.parametrize(
    ("masks", "steps", "curve", "expected"),
    [
        (30, 7, "linear", [5, 4, 4, 5, 4, 4, 4]),
        (32, 8, "cosine", [1, 2, 3, 4, 5, 5, 6, 6]),
    ],
)
def test_the_ratio_schedules_have_the_published_counts(
    masks: int, steps: int, curve: Any, expected: list[int]
) -> None:
    """The worked examples of the schedule."""
    rule, found, left = RatioQuota(steps=steps, curve=curve), [], masks
    for step in range(steps):
        tokens = [None] * left + [4] * (masks - left)
        view = view_of(canvas_of([tokens]), block_step_B=torch.tensor([step]))
        found.append(len(chosen(rule, proposing(view, [[0.5] * masks]))[0]))
        left -= found[-1]
    assert expected == found


@given(ROW, st.integers(2, 6))
def test_rcr_reopens_the_least_confident_of_what_it_decided(row: list[float], steps: int) -> None:
    """In the first step that is the reverse of the schedule's ranking."""
    reviser = ReopenRecorded(steps=steps)
    view = proposing(view_of(canvas_of([[None] * 6]), strategy=reviser), [row])
    kept = 6 - 6 * (steps - 1) // steps
    order = sorted(range(6), key=lambda i: (row[i], i))
    assert sorted(order[: 6 - kept]) == reopened(
        reviser, committed(view, select(Everything(), view))
    )


def test_rcr_remembers_the_confidence_of_the_decision() -> None:
    """A token decided with little confidence is taken back before a fresh one."""
    reviser = ReopenRecorded(steps=3)
    view = proposing(view_of(canvas_of([[None] * 3]), strategy=reviser), [[0.2, 0.9, 0.3]])
    commit_BP = torch.tensor([[True, True, False]])
    view = next_view(reviser, view, commit_BP)
    view = attrs.evolve(proposing(view, [[0.0, 0.0, 0.3]]), block_masks_B=torch.tensor([3]))
    view = attrs.evolve(view, block_step_B=torch.tensor([1]))
    view = proposing(view, [[0.0, 0.0, 0.3]])
    assert [0] == reopened(reviser, committed(view, torch.tensor([[False, False, True]])))


def test_rcr_in_one_step_decides_everything() -> None:
    """Identity of the method at S = 1."""
    pipeline = Denoise(
        blocks=GrowingBlocks(length=4),
        sample=Greedy(),
        confidence=Probability(),
        transfer=Everything(),
        revise=(ReopenRecorded(steps=1),),
        max_steps=99,
    )
    base = attrs.evolve(pipeline, revise=())
    assert decode(base, toy_networks()) == decode(pipeline, toy_networks())


@given(st.integers(1, 8))
def test_rcr_takes_its_steps_and_no_more(steps: int) -> None:
    """The budget of each block is fixed, and no mask is left; rows go on by themselves."""
    pipeline = Denoise(
        blocks=GrowingBlocks(length=4),
        sample=Greedy(),
        confidence=Probability(),
        transfer=Everything(),
        revise=(ReopenRecorded(steps=steps, curve="cosine"),),
        max_steps=99,
    )
    decoded = decode(pipeline, toy_networks())
    assert 0 == sum(row.count(decoded.mask_id) for row in decoded.rows)
    assert len(decoded.trace) <= 2 * steps


@given(ROW)
def test_saber_starts_with_the_best_n(row: list[float]) -> None:
    """Before anything is decided nothing exceeds a bar of 1."""
    rule = AboveMean(least=2)
    view = proposing(view_of(canvas_of([[None] * 6]), strategy=rule), [row])
    assert chosen(TopK(k=2), fresh([row])) == chosen(rule, view)


def test_sabers_bar_is_the_mean_of_past_decisions() -> None:
    """0.9 and 0.5 were decided, so 0.7 is the bar, and it must be exceeded."""
    rule = AboveMean(least=1)
    view = proposing(view_of(canvas_of([[None] * 5]), strategy=rule), [[0.9, 0.5, 0, 0, 0]])
    view = next_view(rule, view, torch.tensor([[True, True, False, False, False]]))
    assert [[3, 4]] == chosen(rule, proposing(view, [[0, 0, 0.69, 0.71, 0.8]]))
    assert [[4]] == chosen(rule, proposing(view, [[0, 0, 0.1, 0.2, 0.3]]))


@pytest.mark.parametrize(
    ("commits", "rounding", "expected"),
    [
        *((2, "up", 1), (3, "up", 1), (8, "up", 1), (9, "up", 2), (17, "up", 3)),
        *((2, "down", 1), (15, "down", 1), (16, "down", 2)),
    ],
)
def test_saber_takes_back_fewer_than_it_commits(commits: int, rounding: Any, expected: int) -> None:
    """One in eight, at least one, and never all; its paper rounds down, its code up."""
    reviser = Backtrack(by="drop", rounding=rounding)
    view = view_of(canvas_of([[None] * 20]), strategy=reviser)
    view = proposing(view, [[0.5] * 20])
    commit_BP = (torch.arange(20) < commits)[None]
    assert expected == len(reopened(reviser, committed(view, commit_BP)))


def test_saber_takes_nothing_back_from_a_finished_block() -> None:
    """The step that completes a block is its last."""
    reviser = Backtrack(by="drop")
    view = proposing(view_of(canvas_of([[None] * 3]), strategy=reviser), [[0.5] * 3])
    assert [] == reopened(reviser, committed(view, torch.ones(1, 3, dtype=torch.bool)))


@given(st.sampled_from(["drop", "probability"]), st.booleans(), st.sampled_from([2, 4, 8]))
def test_saber_ends_within_one_step_for_each_position(by: Any, first: bool, length: int) -> None:
    """Net progress of at least one position in each step, whatever is taken back."""
    pipeline = Denoise(
        blocks=GrowingBlocks(length=length),
        sample=Greedy(),
        confidence=Probability(),
        transfer=AboveMean(first=first),
        revise=(Backtrack(by=by),),
        max_steps=99,
    )
    decoded = decode(pipeline, toy_networks())
    assert 0 == sum(row.count(decoded.mask_id) for row in decoded.rows)
    assert len(decoded.trace) <= 8


def test_growing_blocks_go_back_to_what_was_reopened() -> None:
    """A mask in the first block is decided again before the third block begins."""
    blocks = GrowingBlocks(length=2)

    def stop(*tokens: int | None) -> int:
        canvas = canvas_of([tokens])
        span = blocks.current(canvas)
        assert canvas.start_B.tolist() == span.start_B.tolist()
        return int(span.stop_B - span.start_B)

    assert [2, 2, 4, 4, 6, 6] == [
        stop(None, None, None, None, None, None),
        stop(5, None, None, None, None, None),
        stop(5, 5, None, None, None, None),
        stop(5, None, 5, 5, None, None),
        stop(5, 5, 5, 5, None, None),
        stop(5, 5, 5, 5, 5, 5),
    ]


@given(st.integers(1, 8), st.floats(0.5, 2))
def test_path_planning_takes_its_steps_and_no_more(steps: int, eta: float) -> None:
    """A scheduled share is open after each step, and nothing after the last."""
    pipeline = Denoise(
        sample=Greedy(),
        confidence=Probability(),
        transfer=Everything(),
        revise=(ReopenPlanned(steps=steps, eta=eta),),
        max_steps=99,
    )
    decoded = decode(pipeline, toy_networks())
    assert 0 == sum(row.count(decoded.mask_id) for row in decoded.rows)
    assert len(decoded.trace) <= steps


def test_path_planning_weighs_new_positions_by_eta() -> None:
    """Equal proposals: with eta above 1 the new one goes, below 1 the old one."""
    for eta, expected in ((2.0, [1]), (0.5, [0])):
        reviser = ReopenPlanned(steps=3, eta=eta)
        view = view_of(canvas_of([[4, None, None]]), step=1, block_step_B=torch.tensor([1]))
        view = proposing(view, [[0.5] * 3])
        assert expected == reopened(reviser, committed(view, torch.tensor([[False, True, False]])))


def test_remdm_pauses_in_every_second_step_of_its_loop() -> None:
    """Fill half, then nothing and one by turns, then the rest."""
    rule, taken = FillAndRefill(k=1, fill=0.5, loops=2), []
    for step in range(7):
        view = view_of(canvas_of([[None] * 4]), block_step_B=torch.tensor([step]))
        taken.append(len(chosen(rule, proposing(view, [[0.5] * 4]))[0]))
    assert ([1, 1, 0, 1, 0, 1, 1], 8) == (taken, rule.steps_per_block(4))


def test_remdm_takes_back_the_least_likely_tokens() -> None:
    """In the pauses of the transfer rule, and only then."""
    reviser = ReopenUnlikely(k=1, fill=0.5, loops=1)
    logits = torch.zeros(1, 4, INFO.vocab_size)
    logits[0, 0, 4], logits[0, 1, 4] = 3.0, 1.0
    for step, expected in ((1, []), (2, [1]), (3, [])):
        view = view_of(canvas_of([[4, 4, None, None]]), block_step_B=torch.tensor([step]))
        assert expected == reopened(reviser, proposing(view, [[0.5] * 4], logits))


@pytest.mark.parametrize(("commits", "expected"), [(1, []), (2, [1]), (3, [0, 1])])
def test_faded_tokens_go_back_while_more_is_decided(commits: int, expected: list[int]) -> None:
    """Positions 0 and 1 have faded, the second more; position 2 is still believed."""
    logits = torch.zeros(1, 6, INFO.vocab_size)
    logits[0, :, 4] = torch.tensor([2.0, 1.0, 9.0, 0.0, 0.0, 0.0])
    view = view_of(canvas_of([[4, 4, 4, None, None, None]]), step=1)
    view = proposing(view, [[0.5] * 6], logits)
    commit_BP = torch.tensor([[False] * 3 + [number < commits for number in range(3)]])
    assert expected == reopened(ReopenFaded(low=0.4), committed(view, commit_BP))
