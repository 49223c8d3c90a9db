"""Explanations: every filled slot in order, and promises that follow from declared traits."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit.explaining.explain import explain
from dlmkit.plugins import get_plugins
from dlmkit.spec import load_spec


def promises(name: str, *overrides: str) -> dict[str, bool]:
    """Which claims hold for a preset."""
    known = explain(load_spec(name, overrides)).guarantees
    return {each.id: each.holds for each in known}


def broken(name: str, *overrides: str) -> set[str]:
    return {claim for claim, holds in promises(name, *overrides).items() if not holds}


def test_steps_are_the_filled_slots_in_order():
    """With what stands there, its options, and what the slot is for."""
    found = explain(load_spec("fast-dllm-dual")).pipeline
    assert "denoise" == found.use
    slots = [(step.slot, step.use) for step in found.inner]
    assert [
        ("blocks", "fixed"),
        ("cache", "dual"),
        ("sample", "greedy"),
        ("confidence", "probability"),
        ("transfer", "threshold"),
    ] == slots
    assert 0.9 == found.inner[-1].options["threshold"]
    assert "the span decoded now" in found.inner[0].purpose


def test_combinations_and_schedules_are_steps_inside_steps():
    """As deep as the spec."""
    rule = (
        "{use: union, of: [{use: threshold, threshold: {schedule: linear, from: 0.9, to: 0.5,"
        " over: filled}}, quota]}"
    )
    (transfer,) = (
        step
        for step in explain(load_spec("llada", [f"pipeline.transfer={rule}"])).pipeline.inner
        if step.slot == "transfer"
    )
    assert ["threshold", "quota"] == [step.use for step in transfer.inner]
    assert ["linear"] == [step.use for step in transfer.inner[0].inner]


def test_one_token_a_step_promises_everything():
    """Nothing is approximated, parallel, early or taken back."""
    assert set() == broken("llada")


@pytest.mark.parametrize(
    ("preset", "missing"),
    [
        ("fast-dllm", {"in-sequence"}),
        ("fast-dllm-dual", {"in-sequence", "exact"}),
        ("prophet", {"in-sequence", "own-step"}),
        ("saber", {"in-sequence", "final"}),
    ],
)
def test_what_a_method_gives_up_is_named(preset, missing):
    """Each promise by the trait that breaks it."""
    assert missing == broken(preset)


def test_randomness_is_named_and_still_repeatable():
    """The seed decides the text."""
    known = explain(load_spec("llada-sampling")).guarantees
    (repeats,) = (each for each in known if each.id == "repeats")
    assert repeats.holds
    assert "sample 'categorical' draw from numbers that derive from the seed" in repeats.reason


@pytest.mark.parametrize("name", sorted(get_plugins().presets))
def test_every_preset_can_be_explained(name):
    """As JSON, without loading a model."""
    found = explain(load_spec(name)).as_json()
    assert json.loads(json.dumps(found)) == found
    for each in found["guarantees"] or ():
        assert each["reason"]


def run(*arguments: str):
    return CliRunner().invoke(main, ["explain", *arguments])


def test_the_command_prints_steps_and_promises():
    """For people, and as JSON for programs."""
    shown = " ".join(run("fast-dllm").stdout.split())
    assert "transfer threshold (threshold 0.9): Every position" in shown
    assert "✗ no promise that every token is chosen in view of all" in shown
    assert "✓ what is decided stays (there is no reviser)" in shown
    found = json.loads(run("fast-dllm", "--set", "gen_length=32", "--json").stdout)
    assert ("fast-dllm", 32, {"main": "builtin/verifier"}) == (
        found["name"],
        found["gen_length"],
        found["models"],
    )


def test_a_broken_spec_is_reported_like_everywhere():
    """With what is wrong, and no stack trace."""
    result = run("lada")
    assert 2 == result.exit_code
    assert "did you mean 'llada'" in result.stderr


@pytest.mark.parametrize(
    ("change", "holds", "reason"),
    [
        ("pipeline.drafts=2", True, "only where the pipeline's own step leads"),
        ("pipeline.agreement=subset", False, "reveal less than a step would"),
        ("pipeline.pipeline.sample={use: categorical}", False, "sample 'categorical' draws"),
    ],
)
def test_free_dave_says_when_its_text_is_that_of_static_decoding(change, holds, reason):
    """A procedure of a plugin tells its own guarantees, beside those that all have."""
    known = explain(load_spec("free-dave", [change])).guarantees
    assert ["lossless", "rows", "repeats"] == [each.id for each in known]
    assert holds is known[0].holds
    assert reason in known[0].reason
