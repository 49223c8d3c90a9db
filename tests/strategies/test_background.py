"""The calibrated confidence of PC-Sampler."""

from __future__ import annotations

import json
import math

import pytest
import torch

from dlmkit.errors import RequestError
from dlmkit.spec import SpecError, load_spec
from dlmkit_strategies.background import Calibrated
from tests.strategies.steps import INFO, fresh


def score(scorer: Calibrated, view) -> list[list[float]]:
    """Its scores of the proposals, by row."""
    proposal = view.proposal
    return scorer.score(proposal.tokens_BP, proposal.prediction, view).tolist()


@pytest.fixture
def counts(tmp_path) -> list[int]:
    """Token counts, also written to a file."""
    numbers = [1 + v % 5 for v in range(INFO.vocab_size)]
    (tmp_path / "counts.json").write_text(json.dumps(numbers), encoding="utf-8")
    return numbers


def test_the_score_follows_the_published_formula(tmp_path, counts: list[int]) -> None:
    """exp(-lambda j) min(-c log(f + 1e-9), alpha), j from the block's start."""
    logits = torch.randn(1, 4, INFO.vocab_size, generator=torch.Generator().manual_seed(1))
    view = fresh([[0.0] * 4], logits)
    token_P = view.proposal.tokens_BP[0].tolist()
    shares_PV = logits.double().softmax(dim=-1)[0]
    expected = [
        math.exp(-0.5 * j) * min(-c * math.log(counts[t] / sum(counts) + 1e-9), 1.0)
        for j, t in enumerate(token_P)
        for c in (shares_PV[j, t].item(),)
    ]
    scorer = Calibrated(decay=0.5, clip=1.0, frequencies=str(tmp_path / "counts.json"))
    assert [pytest.approx(expected, rel=1e-5)] == score(scorer, view)


def test_without_a_file_every_token_is_as_common(tmp_path) -> None:
    """Then the order is that of the probabilities."""
    equal = tmp_path / "equal.json"
    equal.write_text(json.dumps([7] * INFO.vocab_size), encoding="utf-8")
    view = fresh([[0.0] * 4], torch.randn(1, 4, INFO.vocab_size))
    assert score(Calibrated(frequencies=str(equal)), view) == score(Calibrated(), view)


def test_check_refuses_a_file_that_is_not_there() -> None:
    """At the option, before a model is loaded."""
    with pytest.raises(SpecError, match="cannot be read") as caught:
        load_spec("pc-sampler", ["pipeline.confidence.frequencies=nowhere.json"])
    (problem,) = caught.value.problems
    assert problem.hint == "give a JSON file with one list of numbers"


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1, 2]", "hold 2 numbers, but the vocabulary has 24"), ("{", "cannot be read")],
)
def test_bad_counts_are_refused(tmp_path, text: str, message: str) -> None:
    """The message says which file, and what is wrong with it."""
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        score(Calibrated(frequencies=str(path)), fresh([[0.0]]))
