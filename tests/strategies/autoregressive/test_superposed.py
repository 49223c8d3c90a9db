"""Superposed decoding at its limits, and what its passes cost."""

from __future__ import annotations

import pytest

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.passes.session import Session
from dlmkit_strategies.autoregressive import Superposed
from tests.strategies.autoregressive.test_beam_search import (
    NEW,
    PROMPTS,
    VOCABULARY,
    network,
    searched,
)


def superposed(prompts, seed=0, **options):
    canvas, session = Canvas.create(prompts, NEW, VOCABULARY), Session(network(seed))
    for _ in Superposed(**options).steps(Context({"main": session}), canvas):
        pass
    rows = zip(canvas.tokens_BN.tolist(), prompts, strict=True)
    return [row[len(prompt) :][:NEW] for row, prompt in rows], session.counts


@pytest.mark.parametrize("seed", range(3))
def test_one_text_without_an_ngram_model_is_greedy_decoding(seed):
    """Nothing is mixed, and sharpening keeps the order."""
    greedy, _ = searched(PROMPTS, seed, beams=1)
    assert greedy == superposed(PROMPTS, seed, beams=1, share=0.0)[0]


def test_several_texts_cost_the_passes_of_one():
    """One row for each prompt, whatever the number of texts."""
    _, counts = superposed([[3, 1, 4]], beams=4)
    assert counts.rows == counts.forwards
    assert counts.fed_positions == 3 + counts.forwards - 1


@pytest.mark.parametrize("beams", [2, 3])
def test_a_row_decodes_as_it_does_alone(beams):
    """Its texts mix with one another only."""
    together, _ = superposed(PROMPTS, beams=beams)
    assert [superposed([prompt], beams=beams)[0][0] for prompt in PROMPTS] == together
