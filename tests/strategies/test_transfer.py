"""Transfer rules select what their formulas say, and meet each other at their limits."""

from __future__ import annotations

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.testing.generators import views
from dlmkit_strategies.guard import AtLeast, AtMost
from dlmkit_strategies.transfer import Factor, Independent, Quota, Threshold, TimeGrid, TopK


@st.composite
def rated(draw):
    """A view and a probability for each of its positions."""
    view = draw(views())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    score_BP = torch.rand(view.positions_BP.shape, generator=generator)
    return view, score_BP.masked_fill(~view.eligible_BP, -torch.inf)


def scores_of(row_P):
    """Eligible scores of a row, falling, with their positions."""
    pairs = [(-score, place) for place, score in enumerate(row_P.tolist()) if score > -torch.inf]
    return [(-score, place) for score, place in sorted(pairs)]


@given(rated(), st.sampled_from([0.2, 0.5, 0.9]))
def test_threshold_takes_what_is_sure_and_the_best(scene, limit):
    """At least one in each row that has something to decide."""
    view, confidence_BP = scene
    commit_BP = Threshold(threshold=limit).select(confidence_BP, view)
    for row_P, commit_P in zip(confidence_BP, commit_BP, strict=True):
        ranked = scores_of(row_P)
        expected = {place for score, place in ranked if score >= limit}
        expected |= {place for _, place in ranked[:1]}
        assert expected == set(commit_P.nonzero().flatten().tolist())


@given(rated(), st.sampled_from([0.4, 1.0, 2.5]))
def test_factor_takes_the_passing_prefix(scene, factor):
    """The n-th best passes while (n + 1)(1 - c) stays below the factor."""
    view, confidence_BP = scene
    commit_BP = Factor(factor=factor).select(confidence_BP, view)
    for row_P, commit_P in zip(confidence_BP, commit_BP, strict=True):
        ranked = scores_of(row_P)
        count = 0
        while count < len(ranked) and (count + 2) * (1 - ranked[count][0]) < factor:
            count += 1
        expected = {place for _, place in ranked[: max(count, 1)]}
        assert expected == set(commit_P.nonzero().flatten().tolist())


@given(rated())
def test_limits_of_the_rules_are_top_1_and_everything(scene):
    """An unreachable threshold and a tiny factor are top-1; their opposites take all."""
    view, confidence_BP = scene
    single_BP = TopK(k=1).select(confidence_BP, view)
    assert torch.equal(single_BP, Threshold(threshold=1.0).select(confidence_BP, view))
    assert torch.equal(single_BP, Factor(factor=1e-9).select(confidence_BP, view))
    for rule in (Threshold(threshold=0.0), Factor(factor=99.0), TopK(k=99), Quota(steps=1)):
        assert torch.equal(view.eligible_BP, rule.select(confidence_BP, view))


@pytest.mark.parametrize(("masks", "steps"), [(8, 8), (8, 3), (7, 4), (5, 9), (1, 1)])
@given(scene=rated())
def test_quota_spreads_the_masks_with_the_remainder_first(scene, masks, steps):
    """The published share of each step, at least one."""
    view, confidence_BP = scene
    for step in range(min(steps, masks)):
        expected = masks // steps + (step < masks % steps)
        now = attrs.evolve(
            view,
            block_step_B=torch.full_like(view.block_step_B, step),
            block_masks_B=torch.full_like(view.block_masks_B, masks),
        )
        commit_BP = Quota(steps=steps).select(confidence_BP, now)
        available = view.eligible_BP.sum(dim=1).clamp_max(expected)
        assert torch.equal(available, commit_BP.sum(dim=1))


@given(rated(), st.integers(1, 3))
def test_guards_keep_a_minimum_and_a_maximum(scene, count):
    """The most confident are added, the least confident dropped."""
    view, confidence_BP = scene
    some_BP = Threshold(threshold=0.5).select(confidence_BP, view)
    fewest = AtLeast(count=count).guard(some_BP, confidence_BP, view)
    most = AtMost(count=count).guard(some_BP, confidence_BP, view)
    room_B = view.eligible_BP.sum(dim=1).clamp_max(count)
    assert (fewest.sum(dim=1) >= room_B).all()
    assert not (some_BP & ~fewest).any()
    assert torch.equal(some_BP.sum(dim=1).clamp_max(count), most.sum(dim=1))
    assert not (most & ~some_BP).any()


@given(rated(), st.integers(1, 6))
def test_the_last_step_of_a_grid_takes_everything(scene, steps):
    """Whatever rounding or coins left over."""
    view, confidence_BP = scene
    last = attrs.evolve(view, block_step_B=torch.full_like(view.block_step_B, steps - 1))
    for rule in (TimeGrid(steps=steps), Independent(steps=steps)):
        assert torch.equal(view.eligible_BP, rule.select(confidence_BP, last))
