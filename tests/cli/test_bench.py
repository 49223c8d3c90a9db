"""`dlmkit bench`: numbers that add up."""

from __future__ import annotations

import json

import pytest

from dlmkit.benchmarking.measure import Measurement, Sample
from dlmkit.benchmarking.timing import TimedNetwork
from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.testing.toy import toy_network

KEYS = [
    "forward_ms",
    "decision_ms",
    "overhead",
    "tokens_per_second",
    "nfe",
    "fed_positions",
    "peak_memory_mb",
    "hardware",
    "versions",
]


@pytest.fixture(scope="module")
def report(tiny_model) -> dict:
    from click.testing import CliRunner

    from dlmkit.cli.main import main

    given = ["--model", tiny_model, "--set", "gen_length=32", "--repeats", "3", "--json"]
    result = CliRunner().invoke(main, ["bench", *given])
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)


def test_json_has_the_stable_keys_first(report):
    """Standard output is one object."""
    assert list(report)[: len(KEYS)] == KEYS


def test_forward_passes_are_counted_for_one_decode(report):
    """Repeats are not added up."""
    assert {"main": 32} == report["nfe"]


def test_times_are_medians_over_repeats():
    """Overhead is what decisions add to forward passes; an outlier changes nothing."""
    usual = sample(wall=1.0, forwards=[0.2, 0.6])
    slow = sample(wall=9.0, forwards=[3.0, 3.0])
    report = Measurement(
        pipeline="p",
        spec_id="s",
        batch_size=1,
        samples=[usual, slow, usual],
        peak_memory_mb=1.0,
        engines={"main": "torch"},
    ).as_json()
    assert {"main": 400.0, "idle": None} == report["forward_ms"]
    assert 100.0 == report["decision_ms"]
    assert 0.25 == report["overhead"]
    assert 10.0 == report["tokens_per_second"]


def sample(*, wall: float, forwards: list[float]) -> Sample:
    return Sample(
        wall=wall,
        forwards={"main": forwards, "idle": []},
        tokens=10,
        nfe={"main": len(forwards), "idle": 0},
        fed_positions=40,
    )


def test_a_batch_multiplies_fed_positions_not_forwards(run):
    """A batch is one pass over more rows."""
    result = run("bench", "--repeats", "1", "--warmup", "0", "--batch-size", "3", "--json")
    found = json.loads(result.stdout)
    assert {"main": 32} == found["nfe"]
    assert 0 == found["fed_positions"] % (3 * 32)


def test_built_in_models_run_where_generate_runs_them():
    """On the compiled engine, unless told otherwise."""
    from click.testing import CliRunner

    from dlmkit.cli.main import main

    short = ["--set", "gen_length=8", "--set", "pipeline.blocks.length=8"]
    once = ["bench", "--pipeline", "fast-dllm", *short, "--repeats", "1", "--warmup", "0"]
    usual = CliRunner().invoke(main, [*once, "--json"])
    assert {"main": "onnxruntime"} == json.loads(usual.stdout)["engines"]
    assert "on torch" in CliRunner().invoke(main, [*once, "--engine", "torch"]).stdout


def test_the_table_is_for_people(run):
    """Without --json, on standard output."""
    result = run("bench", "--repeats", "1", "--warmup", "0")
    assert 0 == result.exit_code
    assert "tokens per second" in result.stdout
    assert "overhead" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--repeats", "0"], "repeats"),
        (["--threads", "0"], "threads"),
        (["--pipeline", "lada"], "did you mean 'llada'?"),
        (["--set", "gen_length=512"], "the model's context is 128"),
    ],
)
def test_bad_options_are_refused(run, arguments, expected):
    """Exit code 2, a message, no stack trace."""
    result = run("bench", *arguments)
    assert 2 == result.exit_code
    assert expected in result.stderr
    assert "Traceback" not in result.output


def test_a_timed_network_changes_nothing():
    """The same output, one time for each call."""
    import torch

    plain = toy_network()
    timed = TimedNetwork(plain)
    ids_BQ = torch.tensor([[1, 2, 3]])
    inputs = NetworkInputs(
        ids_BQ=ids_BQ, positions_BQ=torch.arange(3)[None], want_BS=torch.tensor([[0, 2]])
    )
    expected = plain.forward(inputs, Need()).pack.lse_BP
    assert torch.equal(expected, timed.forward(inputs, Need()).pack.lse_BP)
    assert 1 == len(timed.seconds)
    assert plain.info is timed.info
