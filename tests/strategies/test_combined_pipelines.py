"""Combined rules decode as the loop that one would write by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dlmkit.combinators import Condition, FallbackTransfer, IntersectExit, WhenTransfer
from dlmkit.denoise import Denoise
from dlmkit.schedules import Linear
from dlmkit.testing.conformance.decoding import GEN_LENGTH, PROMPTS, decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.exits import Gap
from dlmkit_strategies.locality import RunBest
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Quota, Threshold, TopK
from tests.oracles import combined
from tests.oracles.combined import surest

BLOCK = 4
Share = dict[int, float]


def over(share: Share, limit: float) -> list[int]:
    """Positions that reach a probability."""
    return [position for position, each in share.items() if each >= limit]


def threshold_or_two(share: Share, progress: float) -> list[int]:
    """Whatever reaches the threshold, and the two best."""
    return [*over(share, 0.2), *surest(share, 2)]


def threshold_or_best(share: Share, progress: float) -> list[int]:
    """Whatever reaches the threshold, and the best."""
    return [*over(share, 0.3), *surest(share, 1)]


def both(share: Share, progress: float) -> list[int]:
    """Of the two best those that reach the threshold, else the best."""
    return [each for each in surest(share, 2) if share[each] >= 0.25] or surest(share, 1)


def by_progress(share: Share, progress: float) -> list[int]:
    """One by one at first, then two by two, at the end all."""
    return surest(share, 1 if progress < 0.25 else 2 if progress < 0.625 else len(share))


def relaxing(share: Share, progress: float) -> list[int]:
    """A threshold that falls from 0.5 to 0.1, and the best."""
    return [*over(share, 0.5 - 0.4 * progress), *surest(share, 1)]


STAGES = WhenTransfer(
    condition=Condition(progress=(0.0, 0.25)),
    then=TopK(k=1),
    otherwise=WhenTransfer(
        condition=Condition(progress=(0.0, 0.625)), then=TopK(k=2), otherwise=TopK(k=BLOCK)
    ),
)
TRANSFERS = [
    (Threshold(threshold=0.3) | TopK(k=1), threshold_or_best),
    (Threshold(threshold=0.2) | TopK(k=2), threshold_or_two),
    (Threshold(threshold=0.25) & TopK(k=2), both),
    (STAGES, by_progress),
    (FallbackTransfer(of=(STAGES, RunBest())), by_progress),
    (Threshold(threshold=Linear(start=0.5, stop=0.1)), relaxing),
]


def compare(pipeline: Denoise, *rules: Callable[..., Any]) -> int:
    """Decode the toy prompts both ways; return the passes of the fastest row."""
    network = toy_networks()["main"]
    expected = [combined.decode(network, each, GEN_LENGTH, BLOCK, *rules) for each in PROMPTS]
    found = decode(pipeline, toy_networks())
    assert [tuple(tokens) for tokens, _ in expected] == list(found.rows)
    assert max(passes for _, passes in expected) == len(found.trace)
    return min(passes for _, passes in expected)


@pytest.mark.parametrize(("transfer", "choose"), TRANSFERS)
def test_combined_transfer_rules_are_the_plain_loop(transfer: Any, choose: Any) -> None:
    """Union, intersection, stages by progress, and a threshold that moves."""
    pipeline = Denoise(
        blocks=FixedBlocks(length=BLOCK),
        sample=Greedy(),
        confidence=Probability(),
        transfer=transfer,
    )
    assert compare(pipeline, choose) < GEN_LENGTH


@pytest.mark.parametrize(("answer", "everything"), [(0.5, (2.0, 0.0)), (0.8, (1.0, 0.5))])
def test_prophet_and_sched_together_are_the_plain_loop(
    answer: float, everything: tuple[float, float]
) -> None:
    """A row is filled where the answer span and the whole region agree that it is plain."""
    high, low = everything

    def leave(gaps: dict[int, float], progress: float) -> bool:
        span = [gaps[each] for each in sorted(gaps)[2:5]]
        prophet = sum(span) / len(span) >= answer
        sched = sum(gaps.values()) / len(gaps) >= high + (low - high) * progress
        return prophet and sched

    exits = IntersectExit(
        of=(
            Gap(threshold=answer, start=2, length=3),
            Gap(threshold=Linear(start=high, stop=low)),
        ),
        scope="canvas",
    )
    pipeline = Denoise(
        blocks=FixedBlocks(length=BLOCK),
        sample=Greedy(),
        confidence=Probability(),
        exit=(exits,),
        transfer=Quota(steps=BLOCK),
    )
    passes = compare(pipeline, lambda share, progress: surest(share, 1), leave)
    assert passes < GEN_LENGTH
