"""Exits by the gap of the two best tokens, and by predictions that stay."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.denoise import Denoise
from dlmkit.errors import StrategyError
from dlmkit.roles import Reviser, Revision
from dlmkit.schedules import Cosine, Linear, Piecewise
from dlmkit.testing.conformance.decoding import decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit.view import View
from dlmkit_strategies.certainty import Certain
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.curves import Decay
from dlmkit_strategies.exits import Gap, Settled
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Quota
from tests.strategies.steps import INFO, canvas_of, next_view, proposing, view_of

STAGES = Piecewise(points=((0.0, 7.5), (0.33, 5.0), (0.67, 2.5)), over="steps")


def gapped(*gaps: float) -> Tensor:
    """Logits whose two best tokens lie this far apart."""
    logits = torch.full((1, len(gaps), INFO.vocab_size), -50.0)
    logits[..., 3], logits[0, :, 5] = 0.0, torch.tensor(gaps)
    return logits


def decides(rule: Any, view: View, logits: Tensor) -> bool:
    """Whether the only row exits."""
    view = proposing(view, [[0.0] * logits.shape[1]], logits)
    proposal = view.proposal
    return bool(rule.decide(proposal.prediction, proposal.confidence_BP, view).rows_B[0])


def canvas(*tokens: int | None) -> Canvas:
    """One row of tokens and masks."""
    return canvas_of([tokens])


@pytest.mark.parametrize(
    ("step", "gap", "exits"),
    [(31, 7.4, False), (31, 7.5, True), (32, 5.0, True), (32, 4.9, False), (66, 2.5, True)],
)
def test_prophet_counts_the_running_step(step: int, gap: float, exits: bool) -> None:
    """At step 33 of 100 the middle stage has begun; a gap at the threshold exits."""
    view = view_of(canvas(None, None), step=step, steps_per_block=100)
    assert exits == decides(Gap(threshold=STAGES), view, gapped(gap, gap))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (Linear(start=7.5, stop=2.5, over="steps"), [7.5, 6.25, 5.0, 3.75, 2.5]),
        (Cosine(start=7.5, stop=2.5, over="steps"), [7.5, 6.77, 5.0, 3.23, 2.5]),
        (Decay(start=7.5, stop=2.5, rate=4.0, over="steps"), [7.5, 4.34, 3.18, 2.75, 2.59]),
    ],
)
def test_sched_curves_have_the_published_values(curve: Any, expected: list[float]) -> None:
    """With progress from 0 to 1 over five steps; a hundredth more or less decides."""
    rule = Gap(threshold=curve, stretched=True)
    for step, limit in enumerate(expected):
        view = view_of(canvas(None), step=step, steps_per_block=5)
        found = [decides(rule, view, gapped(limit + shift)) for shift in (-0.01, 0.01)]
        assert [False, True] == found


def test_an_answer_span_is_all_that_counts() -> None:
    """Two positions from offset 1; the rest may be doubtful."""
    view = view_of(canvas(None, None, None, None))
    rule = Gap(threshold=2.0, start=1, length=2)
    assert decides(rule, view, gapped(0.1, 2.0, 2.0, 0.1))
    assert not decides(rule, view, gapped(9.0, 2.0, 1.9, 9.0))


def test_a_span_beyond_the_row_never_exits() -> None:
    """There is nothing to be sure of."""
    assert not decides(Gap(threshold=0.0, start=2), view_of(canvas(None, None)), gapped(9, 9))


def test_masked_positions_alone_may_count() -> None:
    """And where none is left the span has converged."""
    rule = Gap(threshold=2.0, positions="masked")
    assert not decides(rule, view_of(canvas(4, None)), gapped(9.0, 1.0))
    assert decides(rule, view_of(canvas(None, 4)), gapped(2.0, 0.0))
    assert decides(attrs_start(rule), view_of(canvas(None, 4)), gapped(0.0, 0.0))


def attrs_start(rule: Gap) -> Gap:
    """The same rule on the second position alone."""
    return Gap(threshold=rule.threshold, positions=rule.positions, start=1)


@given(st.lists(st.floats(0.5, 9), min_size=5, max_size=5), st.floats(0, 1))
def test_quantiles_are_linear_between_the_values(gaps: list[float], share: float) -> None:
    """As torch.quantile has them, and the median is the quantile of one half."""
    view, logits = view_of(canvas(*[None] * 5)), gapped(*gaps)
    wanted = torch.tensor(gaps).quantile(share).item()
    below = Gap(threshold=wanted - 1e-3, statistic="quantile", quantile=share)
    above = Gap(threshold=wanted + 1e-3, statistic="quantile", quantile=share)
    assert [True, False] == [decides(rule, view, logits) for rule in (below, above)]
    middle = torch.tensor(gaps).median().item()
    assert decides(Gap(threshold=middle - 1e-3, statistic="median"), view, logits)


def test_a_schedule_over_steps_needs_their_number() -> None:
    """Otherwise there is no end to measure from."""
    with pytest.raises(StrategyError, match="their number is not fixed"):
        decides(Gap(threshold=STAGES), view_of(canvas(None)), gapped(1.0))


def test_predictions_that_stay_exit_after_the_patience() -> None:
    """The first step counts as changed; patience asks for further calm steps."""
    rule, found = Settled(patience=1), []
    view, nothing = view_of(canvas(None, None), strategy=rule), torch.zeros(1, 2, dtype=torch.bool)
    for logits in (gapped(1, 1), gapped(2, 1), gapped(-1, 1), gapped(-1, 1), gapped(-1, 1)):
        found.append(decides(rule, view, logits))
        view = next_view(rule, proposing(view, [[0.0, 0.0]], logits), nothing)
    assert [False, False, False, False, True] == found


@pytest.mark.parametrize(("progress", "count_prompt"), [(0.6, False), (0.8, True)])
def test_too_little_progress_is_not_calm(progress: float, count_prompt: bool) -> None:
    """Two of four decided: a half; with the prompt of two, two thirds."""
    rule = Settled(change=1.0, progress=progress, count_prompt=count_prompt)
    view = view_of(canvas(4, 4, None, None), strategy=rule)
    assert not decides(rule, view, gapped(1, 1, 1, 1))


@pytest.mark.parametrize(("limit", "exits"), [(0.5, False), (0.8, True)])
def test_certain_rows_exit(limit: float, exits: bool) -> None:
    """Two even candidates have log 2 nats; what is decided does not count."""
    view = view_of(canvas(None, 4, None))
    assert exits == decides(Certain(limit=limit), view, gapped(0.0, 0.0, 0.0))


def test_an_infinite_threshold_changes_nothing() -> None:
    """Identity of the method: the base sampler remains."""
    base = Denoise(sample=Greedy(), confidence=Probability(), transfer=Quota(steps=4))
    gated = Denoise(
        sample=Greedy(),
        confidence=Probability(),
        transfer=Quota(steps=4),
        exit=(Gap(threshold=1e9), Settled(progress=1.0)),
    )
    assert decode(base, toy_networks()) == decode(gated, toy_networks())


@attrs.frozen
class ReopenEverything(Reviser):
    """Takes back whatever is decided."""

    name = "reopen-everything"
    reopens = True

    def revise(self, prediction: Any, view: View) -> Revision:
        """Masks for all."""
        return Revision(~view.masked_BP, torch.full_like(view.tokens_BP, view.canvas.mask_id))


def test_a_row_that_exits_is_not_revised() -> None:
    """The exit comes first (conflict C8); otherwise the decode would not end in one step."""
    pipeline = Denoise(
        sample=Greedy(),
        confidence=Probability(),
        transfer=Quota(steps=4),
        exit=(Gap(threshold=0.0),),
        revise=(ReopenEverything(),),
    )
    decoded = decode(pipeline, toy_networks())
    assert (1, 0) == (len(decoded.trace), sum(row.count(decoded.mask_id) for row in decoded.rows))
