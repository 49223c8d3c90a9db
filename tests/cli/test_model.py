"""`dlmkit model inspect`: what a checkpoint is, and where each fact comes from."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from dlmkit.cli.main import main


def inspect(*arguments: str):
    """Run `dlmkit model inspect`."""
    return CliRunner().invoke(main, ["model", "inspect", *map(str, arguments)])


@pytest.fixture
def facts(fixtures):
    """The facts of a reference checkpoint."""
    return lambda name, *options: json.loads(inspect(fixtures / name, "--json", *options).stdout)


def test_a_checkpoint_is_recognised_with_reasons(facts) -> None:
    """Family, mask and pattern, each with where it was found."""
    found = facts("dream")
    assert {"name": "dream", "why": "`architectures` in config.json"} == found["family"]
    assert 508 == found["special_ids"]["mask_id"]["value"]
    assert found["special_ids"]["mask_id"]["from"].endswith("config.json: mask_token_id")
    assert (1, "full") == (found["logit_shift"], found["network"]["attention"])
    assert found["problem"] is None


def test_sizes_are_those_of_the_formulas(facts) -> None:
    """Two layers, two heads of 24 for keys and for values, four bytes each."""
    found = facts("sdar")
    assert 2 * 2 * 2 * 24 * 4 == found["kv_bytes_per_token"]
    assert 256 == found["context_limit"]
    assert found["weights"]["bytes"] == 4 * found["parameters"]
    assert "block-causal, 4 positions per block" == found["network"]["attention"]


def test_experts_that_a_token_does_not_meet_are_told_apart(facts) -> None:
    """Two of eight experts of one layer, three matrices of 32 by 64 each."""
    found = facts("llada2_moe")
    unused = found["parameters"] - found["parameters_used_per_token"]
    assert 6 * 3 * 32 * 64 == unused
    assert (8, 2) == (found["network"]["experts"], found["network"]["experts_per_token"])


def test_the_user_overrules_family_and_mask(facts) -> None:
    """Open-dCoder's files look like an autoregressive model's."""
    assert "causal" == facts("qwen2_ar")["network"]["attention"]
    found = facts("qwen2_ar", "--family", "open-dcoder", "--mask-id", "509")
    assert {"name": "open-dcoder", "why": "named by the user"} == found["family"]
    assert "full" == found["network"]["attention"]
    assert {"value": 509, "from": "given by the user"} == found["special_ids"]["mask_id"]


def test_the_text_says_the_same(fixtures) -> None:
    """One line per fact."""
    text = inspect(fixtures / "llada_moe").stdout
    for words in ("llada-moe", "LLaDAMoEModelLM", "2 of 8 experts", "context limit", "fit the"):
        assert words in text


def test_weights_that_do_not_fit_are_reported_after_the_facts(fixtures, tmp_path) -> None:
    """The facts are printed all the same, and the exit code tells."""
    shutil.copytree(fixtures / "sdar", tmp_path / "copy")
    config = tmp_path / "copy" / "config.json"
    fields = json.loads(config.read_text())
    config.write_text(json.dumps({**fields, "intermediate_size": 8}))
    result = inspect(tmp_path / "copy")
    assert 0 != result.exit_code
    assert "do not fit the config" in result.stdout
    assert "mlp.down_proj.weight' has shape [64, 160]" in result.stderr


def test_an_unknown_family_lists_the_known(fixtures) -> None:
    """And no traceback."""
    result = inspect(fixtures / "sdar", "--family", "sdra")
    assert 0 != result.exit_code
    assert "no family is called 'sdra'" in result.stderr
    assert "sdar" in result.stderr


def test_a_missing_folder_is_an_error_message(tmp_path) -> None:
    """What was asked for, and what is possible."""
    result = inspect(tmp_path / "nothing")
    assert 0 != result.exit_code
    assert "there is no model" in result.stderr


def test_a_derived_model_is_inspected_by_its_name_in_a_spec(tmp_path) -> None:
    """What its source is, and what is left of it at which price."""
    spec = tmp_path / "thin.yaml"
    spec.write_text(
        "dlmkit: pipeline/1\nname: thin\ngen_length: 8\n"
        "models:\n  verifier: builtin/verifier\n"
        "  main: {derive: {from: verifier, skip_layers: [1, 2]}}\n"
        "pipeline: {sample: greedy, confidence: probability, transfer: quota}\n"
    )
    found = json.loads(inspect("main", "--pipeline", spec, "--json").stdout)
    assert 2 == found["derived"]["layers"]
    assert 0 == found["derived"]["extra_bytes"]
    assert found["derived"]["parameters"] < found["parameters"]
    shown = " ".join(inspect("main", "--pipeline", spec).stdout.split())
    assert "derived verifier without layers 1, 2 (2 layers" in shown
    assert None is json.loads(inspect("verifier", "-p", spec, "--json").stdout)["derived"]
    assert "its models are: verifier, main" in inspect("mian", "-p", spec).stderr
