"""Running documents: one batch, honest counts, the same row in any batch."""

from __future__ import annotations

import pytest
import torch

import dlmkit
from dlmkit.errors import ModelError, RequestError
from dlmkit.generation import Runner
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.store import keep_costs
from dlmkit.spec import load_spec
from tests.core.toy_runner import PROMPTS, toy_runner
from tests.tiny_model import write_tiny_model

SAMPLING = ("llada-sampling", "pipeline.sample.temperature=1.0")


def decode(runner, prompts, **options):
    """All results of one batch."""
    started = runner.start(prompts, **options)
    records = list(started)
    return started.results(), records, started


def test_nothing_runs_before_the_decode_is_iterated():
    """Laying out a batch is free."""
    started = toy_runner().start(PROMPTS)
    assert 0 == started.context.counts()["main"].forwards
    assert 0.0 == started.seconds


def test_one_token_for_each_forward_where_the_preset_says_so():
    """Every row takes part in every pass."""
    results, records, _ = decode(toy_runner(), PROMPTS)
    assert 8 == len(records)
    assert [{"main": 8}] * 3 == [each.nfe for each in results]
    assert [0, 0, 0] == [each.masks_left for each in results]


def test_fed_positions_are_those_computed_for_a_row():
    """The batch is as wide as its longest row; that is what is paid for."""
    results, _, _ = decode(toy_runner(), PROMPTS)
    assert [8 * (6 + 8)] * 3 == [each.fed_positions for each in results]


@pytest.mark.parametrize("row", range(3))
def test_a_row_decodes_alone_as_in_its_batch(row):
    """Random draws belong to the sample's number, not to its place in a batch."""
    runner = toy_runner(*SAMPLING)
    together, _, _ = decode(runner, PROMPTS, seed=5)
    alone, _, _ = decode(runner, [PROMPTS[row]], seed=5, first_sample=row)
    assert together[row].token_ids == alone[0].token_ids
    assert together[row].nfe == alone[0].nfe


def test_a_runner_decodes_again_from_scratch():
    """No state is left over from an earlier batch."""
    runner = toy_runner(*SAMPLING)
    first, _, _ = decode(runner, PROMPTS, seed=1)
    decode(runner, PROMPTS[:1], seed=2)
    again, _, _ = decode(runner, PROMPTS, seed=1)
    assert [each.token_ids for each in first] == [each.token_ids for each in again]


def test_a_text_ends_before_its_first_end_token():
    """What the model wrote after it is not part of the answer, and not counted."""
    started = toy_runner().start([[1, 2]])
    list(started)
    info = started.runner.home.network.info
    started.canvas.tokens_BN = torch.tensor([[1, 2, 3, 4, info.eos_ids[0], 5, 6, 7, 8, 9]])
    (result,) = started.results()
    assert (3, 4) == result.token_ids
    assert 2 == result.tokens


def test_an_infilled_row_is_given_whole():
    """Given tokens stay, and only the filled ones are counted."""
    runner = toy_runner("llada")
    mask = runner.mask_id
    (result,), _, _ = decode(runner, [[1, mask, 3, mask, 5]], infill=True)
    assert (1, 3, 5) == result.token_ids[::2]
    assert 5 == len(result.token_ids)
    assert 2 == result.tokens


def test_undecided_masks_are_no_tokens():
    """Results can be asked for at any time."""
    started = toy_runner().start([[1, 2]])
    next(started)
    (result,) = started.results()
    assert 7 == result.masks_left
    assert {"main": 1} == result.nfe
    assert 1 >= result.tokens


def test_a_prompt_that_does_not_fit_is_refused():
    """Before anything runs."""
    with pytest.raises(RequestError, match="context"):
        toy_runner().start([[0] * 511])


def test_a_model_without_a_tokenizer_says_so():
    """Token ids still decode."""
    with pytest.raises(ModelError, match="has no tokenizer"):
        _ = toy_runner().tokenizer


def test_generate_goes_from_text_to_text(tmp_path):
    """The shortest way, with the pieces it is made of."""
    model = write_tiny_model(tmp_path)
    changes = [f'models.main="{model}"', "gen_length=32"]
    one = dlmkit.generate("copy: 1", "llada", overrides=changes)
    runner = dlmkit.Runner.load(dlmkit.load_spec("llada", changes))
    expected, _, _ = decode(runner, runner.encode(["copy: 1"]))
    assert [each.text for each in expected] == [each.text for each in one]


def test_passes_are_weighed_where_they_were_measured(tmp_path):
    """A pass of the home network over its canvas is one, whatever it takes in seconds."""
    folder = str(write_tiny_model(tmp_path / "tiny"))
    document = load_spec("llada", [f'models.main="{folder}"', "gen_length=32"])
    runner = Runner.load(document)
    prompts = runner.encode(["sort: 5 2"])
    assert [None] == [each.weighted_nfe for each in decode(runner, prompts)[0]]
    costs = CostTable({(rows, fed): 2.0 * rows for rows in (1, 2) for fed in (1, 99)})
    keep_costs(runner.home, costs)
    results, _, _ = decode(Runner.load(document), prompts * 2)
    assert [32.0, 32.0] == pytest.approx([each.weighted_nfe for each in results])
