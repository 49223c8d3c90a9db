"""Recursive speculative decoding keeps the verifier's law, whoever drafts and however."""

from __future__ import annotations

from itertools import product

import pytest

from dlmkit.errors import RequestError
from dlmkit.testing.toy import toy_network
from tests.strategies.trees.chains import beams, decoded, markov, recursive

SAMPLES = 4000
TREES = [(recursive, (1, 1)), (recursive, (3, 1)), (recursive, (2, 2))]
BEAMS = [(beams, (1, 2)), (beams, (3, 2)), (beams, (4, 1))]
ONE_OF_EACH = [(recursive, (2, 2)), (beams, (3, 3))]


@pytest.mark.parametrize(("pipeline", "sizes"), [*TREES, *BEAMS])
def test_pairs_of_tokens_follow_the_verifiers_law(pipeline, sizes):
    """Four thousand rows of one batch, against the product of two rows of the table."""
    nets = {"main": markov(1, 4, 1.0), "drafter": markov(2, 4, 1.5)}
    found, _, _ = decoded(pipeline(*sizes), nets, [[0]] * SAMPLES, 2)
    law_VV = nets["main"].table_VV.softmax(dim=1)
    for a, b in product(range(4), repeat=2):
        share = float(law_VV[0, a] * law_VV[a, b])
        spread = (share * (1 - share) / SAMPLES) ** 0.5
        assert found.count([a, b]) / SAMPLES == pytest.approx(share, abs=4 * spread)


@pytest.mark.parametrize(("pipeline", "sizes"), ONE_OF_EACH)
def test_a_row_decodes_as_it_does_alone(pipeline, sizes):
    """Its draws are its own, also where its text ends before the others'."""
    nets = {"main": markov(1, 6), "drafter": markov(2, 6)}
    prompts = [[0], [3, 1], [5, 5, 2]]
    together, _, _ = decoded(pipeline(*sizes), nets, prompts, 9)
    alone = [
        decoded(pipeline(*sizes), nets, [prompt], 9, first_sample=row)[0][0]
        for row, prompt in enumerate(prompts)
    ]
    assert alone == together


@pytest.mark.parametrize(("pipeline", "sizes"), ONE_OF_EACH)
@pytest.mark.parametrize("drafter", [markov(1, 7), toy_network(vocabulary=6)], ids=["wide", "sees"])
def test_drafters_that_do_not_fit_are_refused(pipeline, sizes, drafter):
    """Another vocabulary, or a network that looks ahead."""
    nets = {"main": markov(1, 6), "drafter": drafter}
    with pytest.raises(RequestError, match="drafter 'drafter'"):
        decoded(pipeline(*sizes), nets, [[0]], 2)
