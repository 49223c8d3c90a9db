"""`dlmkit check`: every problem of every file, and an exit code for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dlmkit.cli.main import main

GOOD = """\
dlmkit: pipeline/1
name: good
gen_length: 64
pipeline:
  sample: greedy
  confidence: probability
  transfer: threshold
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good and a bad file in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD, encoding="utf-8")
    Path("bad.yaml").write_text(GOOD.replace("greedy", "gready"), encoding="utf-8")


def check(*arguments: str):
    """Run `dlmkit check`."""
    return CliRunner().invoke(main, ["check", *arguments])


@pytest.mark.usefixtures("files")
def test_a_good_file_exits_with_0() -> None:
    """Its id is shown in short."""
    result = check("good.yaml")
    assert 0 == result.exit_code
    assert result.stdout.startswith("good.yaml: ok (")


@pytest.mark.usefixtures("files")
def test_a_bad_file_exits_with_2_and_the_others_are_still_checked() -> None:
    """Problems go to standard error; standard output holds the good ones."""
    result = check("bad.yaml", "good.yaml", "missing.yaml")
    assert 2 == result.exit_code
    assert result.stdout.startswith("good.yaml: ok (")
    assert "bad.yaml:5:11: no sample strategy is called 'gready'" in result.stderr
    assert "bad.yaml: 1 problem\n" in result.stderr
    assert "there is no file missing.yaml" in result.stderr
    assert "Traceback" not in result.output


def test_a_preset_can_be_checked() -> None:
    """By its name."""
    assert 0 == check("llada").exit_code


@pytest.mark.usefixtures("files")
def test_overrides_are_checked_with_the_file() -> None:
    """The same option as on the commands that decode."""
    result = check("good.yaml", "--set", "gen_length=0")
    assert 2 == result.exit_code
    assert "--set #1:1:12: gen_length must be at least 1; got 0" in result.stderr


@pytest.mark.usefixtures("files")
def test_json_gives_the_problems_as_data() -> None:
    """Position, message and hint apart."""
    result = check("bad.yaml", "good.yaml", "--json")
    bad, good = json.loads(result.stdout)
    assert 2 == result.exit_code
    assert (False, True) == (bad["ok"], good["ok"])
    assert 64 == len(good["spec_id"])
    problem = bad["problems"][0]
    assert ("bad.yaml", 5, 11, "did you mean 'greedy'?") == (
        problem["file"],
        problem["line"],
        problem["column"],
        problem["hint"],
    )


def test_at_least_one_file_is_needed() -> None:
    """Nothing to check is a mistake, not a success."""
    assert 2 == check().exit_code


def test_it_says_where_each_model_comes_from() -> None:
    """A derived one by what it is derived from."""
    thin = 'models={"main": {"derive": {"from": "big", "skip_layers": [1]}}, "big": "a/b"}'
    assert "; main = big without layer 1, big = a/b)" in check("llada", "--set", thin).stdout
