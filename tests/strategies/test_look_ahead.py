"""Choices that are tried before one is kept: Info-Gain."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dlmkit.noise import Noise
from dlmkit.testing.conformance.decoding import GEN_LENGTH, PROMPTS, Decoded, decode
from dlmkit.testing.conformance.looped import toy_networks
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.look_ahead import LookAhead
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.stop import EndOfText
from dlmkit_strategies.transfer import TopK
from tests.oracles import info_gain

SEED, BLOCK = 3, 4
SLOTS: dict[str, Any] = {"sample": Greedy(), "confidence": Probability(), "transfer": TopK(k=1)}


def decoded(**options: Any) -> Decoded:
    """The toy prompts, decoded with a look ahead."""
    pipeline = LookAhead(blocks=FixedBlocks(length=BLOCK), **(SLOTS | options))
    return decode(pipeline, toy_networks(), seed=SEED)


def gumbel_of(row: int) -> Any:
    """The noise that the procedure draws for one row."""

    def gumbel(branch: int, step: int, position: int) -> float:
        noise = Noise(SEED, torch.tensor([row]), step)
        return float(noise.gumbel_BP(f"look-ahead-{branch}", torch.tensor([[position]])))

    return gumbel


@pytest.mark.parametrize(("branches", "sure"), [(1, 2.0), (4, 2.0), (3, 0.3), (2, 0.0)])
def test_every_row_is_that_of_the_plain_loop(branches: int, sure: float) -> None:
    """With and without the bypass; a batch takes as many passes as its slowest row."""
    network = toy_networks()["main"]
    expected = [
        info_gain.decode(network, prompt, GEN_LENGTH, BLOCK, branches, 0.2, sure, gumbel_of(row))
        for row, prompt in enumerate(PROMPTS)
    ]
    found = decoded(branches=branches, noise=0.2, sure=sure)
    assert [tuple(tokens) for tokens, _ in expected] == list(found.rows)
    assert max(passes for _, passes in expected) == len(found.trace)


def test_a_pass_runs_every_choice_as_a_row() -> None:
    """The first has one choice; passes and fed rows are both counted."""
    found = decoded(branches=4, sure=2.0)
    counts, rows = found.executed["main"], len(PROMPTS)
    assert (GEN_LENGTH, rows + (GEN_LENGTH - 1) * 4 * rows) == (counts.forwards, counts.rows)


def test_rows_stop_at_the_end_of_the_text() -> None:
    """Stop rules work as in `denoise`."""
    stopping = decoded(branches=2, stop=(EndOfText(),))
    assert len(stopping.trace) <= len(decoded(branches=2).trace)


def test_entropy_of_the_choice_may_be_left_out() -> None:
    """The variant called lookum decides otherwise on some toy prompt."""
    assert decoded(branches=4, sure=2.0) != decoded(branches=4, sure=2.0, immediate=False)
