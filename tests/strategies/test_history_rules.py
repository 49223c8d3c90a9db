"""Rules that compare with earlier steps: KLASS, CCD's code, deferred quotas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dlmkit.view import View
from dlmkit_strategies.agreement import RunnersUp
from dlmkit_strategies.deferral import DeferredQuota
from dlmkit_strategies.stability import SteadyAndSure
from dlmkit_strategies.transfer import Quota, TopK
from tests.strategies.steps import (
    INFO,
    canvas_of,
    chosen,
    next_view,
    proposing,
    select,
    view_of,
)

WIDTH = 5
ROW = st.lists(st.floats(0, 1), min_size=WIDTH, max_size=WIDTH)


def begin(rule: Any) -> View:
    """The first step over masks."""
    return view_of(canvas_of([[None] * WIDTH]), strategy=rule)


def sharp(*tokens: int) -> Tensor:
    """Logits under which each position is nearly certain of its token."""
    return 9.0 * torch.nn.functional.one_hot(torch.tensor([tokens]), INFO.vocab_size)


@pytest.mark.parametrize("past", [1, 2, 3])
def test_klass_waits_until_the_distribution_has_settled(past: int) -> None:
    """The first change is measured against nothing, so a step more than the history passes."""
    rule = SteadyAndSure(otherwise=TopK(k=1), threshold=0.5, kl=0.1, past=past)
    view, taken = begin(rule), []
    for _ in range(past + 1):
        view = proposing(view, [[0.3, 0.9, 0.4, 0.8, 0.7]], sharp(1, 2, 3, 4, 5))
        taken.append(chosen(rule, view)[0])
        view = next_view(rule, view, torch.zeros(1, WIDTH, dtype=torch.bool))
    assert [[1]] * past + [[1, 3, 4]] == taken


def test_klass_starts_anew_when_a_prediction_changes() -> None:
    """The changed position is not steady; the others are."""
    rule = SteadyAndSure(otherwise=TopK(k=1), threshold=0.5, kl=0.1, past=1)
    view, nothing = begin(rule), torch.zeros(1, WIDTH, dtype=torch.bool)
    view = next_view(rule, proposing(view, [[0.9] * WIDTH], sharp(1, 2, 3, 4, 5)), nothing)
    view = proposing(view, [[0.9] * WIDTH], sharp(1, 2, 8, 4, 5))
    assert [[0, 1, 3, 4]] == chosen(rule, view)


@given(st.integers(0, 2**16))
def test_klass_measures_the_change_from_the_step_before(seed: int) -> None:
    """In nats, as the definition has it; in the first step, from next to nothing."""
    generator = torch.Generator().manual_seed(seed)
    rule, nothing = SteadyAndSure(otherwise=TopK(k=1)), torch.zeros(1, WIDTH, dtype=torch.bool)
    drawn = 3 * torch.randn(2, 1, WIDTH, INFO.vocab_size, generator=generator)
    first = proposing(begin(rule), [[0.5] * WIDTH], drawn[0])
    second = proposing(next_view(rule, first, nothing), [[0.5] * WIDTH], drawn[1])
    before, now = drawn.double().softmax(dim=-1)
    expected = (now * (now / before).log()).sum(dim=-1)
    torch.testing.assert_close(expected.float(), rule._compared(second)[1], atol=1e-5, rtol=1e-4)
    assert bool((rule._compared(first)[1] > 20).all())


@pytest.mark.parametrize(("pick", "expected"), [("surest", [1]), ("steadiest", [3])])
def test_klass_may_pick_one_of_the_settled(pick: Any, expected: list[int]) -> None:
    """By confidence, or by how little the distribution moved."""
    rule = SteadyAndSure(otherwise=TopK(k=1), threshold=0.5, kl=1.0, past=1, pick=pick)
    view, nothing = begin(rule), torch.zeros(1, WIDTH, dtype=torch.bool)
    view = next_view(rule, proposing(view, [[0.9] * WIDTH], sharp(1, 2, 3, 4, 5)), nothing)
    logits = sharp(1, 2, 3, 4, 5) * torch.tensor([0.7, 0.8, 0.9, 1.0, 0.6])[None, :, None]
    view = proposing(view, [[0.6, 0.9, 0.6, 0.8, 0.6]], logits)
    assert [expected] == chosen(rule, view)


@given(ROW, st.floats(0, 1))
def test_klass_without_a_bound_is_a_strict_threshold(row: list[float], limit: float) -> None:
    """Identity of the method at tau_KL = infinity, after the first steps."""
    rule = SteadyAndSure(otherwise=TopK(k=1), threshold=limit, kl=1e9, past=1)
    view = proposing(begin(rule), [row])
    expected = [i for i, c in enumerate(row) if c > limit] or [row.index(max(row))]
    assert [expected] == chosen(rule, view)


def run_ccd(rule: RunnersUp, rows: list[list[float]], tokens: list[tuple[int, ...]]) -> list[Any]:
    """Follow a rule over several steps; list what it committed in each."""
    view, taken = begin(rule), []
    for row, proposed in zip(rows, tokens, strict=True):
        view = proposing(view, [row], sharp(*proposed))
        commit_BP = select(rule, view)
        taken.append(chosen(rule, view)[0])
        view = next_view(rule, view, commit_BP)
    return taken


def test_ccd_commits_runners_up_that_keep_their_token() -> None:
    """After one ordinary step: two runners-up agree with it, the third changed its mind."""
    rule = RunnersUp(k=1, expand=4.0, warmup=1)
    rows = [[0.9, 0.8, 0.7, 0.2, 0.1], [0.9, 0.8, 0.7, 0.6, 0.1]]
    assert [[0], [1, 2]] == run_ccd(rule, rows, [(1, 2, 3, 4, 5)] * 2)
    assert [[0], [1]] == run_ccd(rule, rows, [(1, 2, 3, 4, 5), (1, 2, 8, 4, 5)])


def test_ccd_without_bulk_keeps_its_pace() -> None:
    """The fixed budget takes the best of what agrees."""
    rule = RunnersUp(k=1, expand=4.0, warmup=1, bulk=False)
    rows = [[0.9, 0.8, 0.7, 0.2, 0.1], [0.9, 0.8, 0.7, 0.6, 0.1]]
    assert [[0], [1]] == run_ccd(rule, rows, [(1, 2, 3, 4, 5)] * 2)


@given(st.lists(ROW, min_size=1, max_size=4), st.integers(1, 3))
def test_ccd_is_top_k_while_it_warms_up(rows: list[list[float]], k: int) -> None:
    """Nothing is compared before."""
    rule = RunnersUp(k=k, warmup=9)
    view = begin(rule)
    for row in rows:
        view = proposing(view, [row])
        assert chosen(TopK(k=k), view) == chosen(rule, view)
        view = next_view(rule, view, select(rule, view))


@given(st.lists(ROW, min_size=1, max_size=4), st.integers(1, 5))
def test_a_deferred_quota_without_threshold_is_a_quota(rows: list[list[float]], steps: int) -> None:
    """As long as the quota divides the masks evenly, nothing is ever deferred."""
    plain, deferred = Quota(steps=WIDTH), DeferredQuota(steps=WIDTH, threshold=0.0)
    view = view_of(canvas_of([[None] * WIDTH]))
    for _, row in zip(range(steps), rows, strict=False):
        view = proposing(view, [row])
        commit_BP = select(plain, view)
        assert torch.equal(commit_BP, select(deferred, view))
        canvas = view.canvas
        canvas.commit(view.positions_BP, commit_BP, view.proposal.tokens_BP, view.step)
        view = view_of(canvas, step=view.step + 1, block_step_B=view.block_step_B + 1)


def test_doubtful_positions_add_to_the_next_quota() -> None:
    """Two are due in each step; the one left out comes back as a third."""
    rule = DeferredQuota(steps=3, threshold=0.5)
    view = view_of(canvas_of([[None] * 6]))
    view = proposing(view, [[0.9, 0.4, 0.3, 0.2, 0.1, 0.1]])
    assert [[0]] == chosen(rule, view)
    view = view_of(canvas_of([[7, None, None, None, None, None]]), block_step_B=torch.tensor([1]))
    assert [[1, 2, 3]] == chosen(rule, proposing(view, [[0.0, 0.9, 0.8, 0.7, 0.6, 0.1]]))


def test_what_a_step_works_out_is_kept_for_its_end() -> None:
    """Each owner has one value for each step."""
    proposal, calls = proposing(begin(TopK(k=1)), [[0.5] * WIDTH]).proposal, []

    def work() -> int:
        calls.append(1)
        return len(calls)

    one, other = TopK(k=1), TopK(k=2)
    assert [1, 1, 2] == [proposal.once(owner, work) for owner in (one, one, other)]
