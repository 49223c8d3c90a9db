"""Recursive speculative decoding keeps the verifier's law, whoever drafts."""

from __future__ import annotations

from itertools import product

import pytest

from dlmkit.errors import RequestError
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_network
from tests.strategies.trees.chains import decoded, markov

SAMPLES = 4000


def recursive(*widths):
    changes = [
        f"pipeline.draft.widths={list(widths)}",
        f"pipeline.judge.brothers={max(widths)}",
        f"pipeline.schedule.steps={len(widths)}",
        "pipeline.verifier.stop=[]",
    ]
    return load_spec("recursive-speculation", changes).pipeline


@pytest.mark.parametrize("widths", [(1, 1), (3, 1), (2, 2)])
def test_pairs_of_tokens_follow_the_verifiers_law(widths):
    """Four thousand rows of one batch, against the product of two rows of the table."""
    nets = {"main": markov(1, 4, 1.0), "drafter": markov(2, 4, 1.5)}
    found, _, _ = decoded(recursive(*widths), nets, [[0]] * SAMPLES, 2)
    law_VV = nets["main"].table_VV.softmax(dim=1)
    for a, b in product(range(4), repeat=2):
        share = float(law_VV[0, a] * law_VV[a, b])
        spread = (share * (1 - share) / SAMPLES) ** 0.5
        assert found.count([a, b]) / SAMPLES == pytest.approx(share, abs=4 * spread)


def test_the_first_brother_of_an_equal_drafter_always_stands():
    """So a pass decides as deep as the tree goes, and one more."""
    nets = {"main": markov(1, 6), "drafter": markov(1, 6)}
    _, records, _ = decoded(recursive(2, 2, 1), nets, [[0], [3]], 16)
    kept = [each.audit.kept_BN.sum(dim=1).tolist() for each in records if each.phase == "verify"]
    assert [[3, 3]] * 4 == kept


def test_a_depth_is_one_pass_of_the_drafter():
    """Over stored keys and values: the text once, then the drafted tokens only."""
    nets = {"main": markov(1, 6), "drafter": markov(2, 6)}
    _, records, sessions = decoded(recursive(2, 2), nets, [[0, 1, 2]], 8)
    drafting = [each for each in records if each.phase == "draft"]
    assert len(drafting) == sessions["drafter"].counts.forwards
    assert drafting[0].counts.fed_positions == 3
    assert drafting[1].counts.fed_positions == 3 + 2


def test_a_row_decodes_as_it_does_alone():
    """Its draws are its own."""
    nets = {"main": markov(1, 6), "drafter": markov(2, 6)}
    prompts = [[0], [3, 1], [5, 5, 2]]
    together, _, _ = decoded(recursive(2, 2), nets, prompts, 9)
    alone = [
        decoded(recursive(2, 2), nets, [prompt], 9, first_sample=row)[0][0]
        for row, prompt in enumerate(prompts)
    ]
    assert alone == together


def test_drafters_that_do_not_fit_are_refused():
    """Another vocabulary, or a network that looks ahead."""
    for drafter in (markov(1, 7), toy_network(vocabulary=6)):
        with pytest.raises(RequestError, match="drafter 'drafter'"):
            decoded(recursive(2), {"main": markov(1, 6), "drafter": drafter}, [[0]], 2)
