"""The presets decode like the public reference implementations, token for token."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from dlmkit.errors import RequestError
from dlmkit.testing.golden import (
    Networks,
    SamplerMap,
    first_difference,
    load_sampler_map,
    read_cases,
    replay,
    run_cases,
)
from dlmkit.testing.golden.__main__ import main
from dlmkit.testing.golden.expressions import value_of

HERE = Path(__file__).parent / "golden"
SAMPLERS = {
    "dream_entropy": 37,
    "dream_maskgit_plus": 32,
    "dream_topk_margin": 32,
    "fastdllm_llada_uncached": 57,
    "llada_low_confidence": 46,
    "llada_low_confidence_cfg": 18,
    "llada_scorers": 28,
}
"""Samplers that must agree in full, with the number of their sound cases."""


@pytest.fixture(scope="module")
def case():
    return read_cases([HERE / "traces/llada_low_confidence.jsonl"])[0]


@pytest.fixture(scope="module")
def replayed(case):
    document = load_sampler_map().document_for(case.sampler, case.settings)
    return replay(case, document, Networks(HERE).get(case.checkpoint, case.mask_id))


def command(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def write_case(folder, **changes):
    """A trace file with one case of the small collection, changed."""
    row = json.loads((HERE / "traces/llada_scorers.jsonl").read_text().splitlines()[0])
    path = folder / "traces.jsonl"
    path.write_text(json.dumps(row | changes) + "\n")
    return path


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_small_collection_agrees(sampler):
    """A bare clone proves every base sampler on a few decodes."""
    cases = read_cases([HERE / f"traces/{sampler}.jsonl"])
    report = run_cases(cases, load_sampler_map(), Networks(HERE))
    assert not report.sound[sampler].misses
    assert sum(not case.quirks for case in cases) == report.sound[sampler].passed


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_reference_decode_agrees(sampler, fixtures):
    """Tokens, commits of each pass, and no more forward passes than the reference."""
    cases = read_cases([fixtures / f"traces/{sampler}.jsonl"])
    report = run_cases(cases, load_sampler_map(), Networks(fixtures))
    assert report.lines() == [f"{sampler} {SAMPLERS[sampler]}/{SAMPLERS[sampler]}"]
    assert report.passed


def test_the_command_reports_one_line_for_each_sampler():
    """The command that the README names, on the small collection."""
    done = command("--fixtures", HERE, HERE / "traces/dream_entropy.jsonl")
    count = len(read_cases([HERE / "traces/dream_entropy.jsonl"]))
    assert f"dream_entropy {count}/{count}\n" == done.stdout
    assert (0, "") == (done.exit_code, done.stderr)


def test_a_wrong_token_is_reported_with_its_step(case, replayed):
    """The first pass that committed something else is what helps to find the reason."""
    assert first_difference(case, replayed) is None
    (position, token), *_ = case.steps[0][3]
    steps = list(case.steps[0])
    steps[3] = ((position, token + 1), *steps[3][1:])
    wrong = attrs.evolve(case, steps=(tuple(steps),), outputs=((0,),))
    found = first_difference(wrong, replayed)
    assert found.startswith(f"step 4, row 0: expected {position}:{token + 1}")
    assert f"got {position}:{token}" in found


def test_a_wrong_token_is_reported_without_steps(case, replayed):
    """Some traces do not tell the steps."""
    outputs = ((*case.outputs[0][:-1], 499),)
    wrong = attrs.evolve(case, steps=None, outputs=outputs)
    last, got = len(outputs[0]) - 1, case.outputs[0][-1]
    assert f"token {last}, row 0: expected 499, got {got}" == first_difference(wrong, replayed)


def test_steps_in_another_order_are_a_miss(case, replayed):
    """Equal texts are not enough."""
    turned = attrs.evolve(case, steps=(case.steps[0][::-1],))
    assert first_difference(turned, replayed).startswith("step 1, row 0: ")


def test_fewer_forward_passes_are_welcome_and_more_are_a_miss(case, replayed):
    """The reference's count is an upper bound."""
    assert first_difference(attrs.evolve(case, nfe=case.nfe + 1), replayed) is None
    expected = f"{replayed.nfe} forward passes, but the reference needs {replayed.nfe - 1}"
    assert expected == first_difference(attrs.evolve(case, nfe=case.nfe - 1), replayed)


def test_left_padding_is_stripped_and_positions_move():
    """Rows are padded on the right here, so a row starts at position 0."""
    cases = read_cases([HERE / "traces/llada_low_confidence.jsonl"])
    raw = (HERE / "traces/llada_low_confidence.jsonl").read_text().splitlines()
    pairs = zip(cases, map(json.loads, raw), strict=True)
    padded, row = next((case, row) for case, row in pairs if "attention_mask" in row)
    lengths = tuple(sum(mask) for mask in row["attention_mask"])
    assert lengths == tuple(map(len, padded.prompts))
    assert lengths == tuple(min(p for step in steps for p, _ in step) for steps in padded.steps)


def test_an_unknown_sampler_is_never_passed(tmp_path):
    """It is listed, and a run that proves nothing fails."""
    path = write_case(tmp_path, sampler="mystery")
    done = command("--fixtures", HERE, path)
    assert (1, "mystery unknown (1 cases)\n") == (done.exit_code, done.stdout)


def test_a_setting_that_nobody_reads_makes_a_case_unknown(tmp_path):
    """A rule that the preset does not have must not pass by luck."""
    row = json.loads((HERE / "traces/llada_scorers.jsonl").read_text().splitlines()[0])
    path = write_case(tmp_path, settings=row["settings"] | {"remask": True})
    report = run_cases(read_cases([path]), load_sampler_map(), Networks(HERE))
    assert (0, 1) == (report.sound["llada_scorers"].total, report.sound["llada_scorers"].unknown)


def test_what_differs_on_purpose_is_counted_apart_with_its_reason(tmp_path):
    """Such a case is neither passed nor missed, and needs no settings that are understood."""
    row = json.loads((HERE / "traces/llada_scorers.jsonl").read_text().splitlines()[0])
    path = write_case(tmp_path, sampler="mystery", settings=row["settings"] | {"odd": True})
    samplers = SamplerMap({"mystery": [{"when": {"odd": True}, "differs": "it is odd"}]})
    report = run_cases(read_cases([path]), samplers, Networks(HERE))
    assert ["mystery apart (1 cases): it is odd"] == report.lines()
    assert not report.passed


def test_a_text_is_compared_as_far_as_the_reference_returned_it(case, replayed):
    """Whole blocks are decoded, and what lies beyond the text is in the steps."""
    shorter = attrs.evolve(case, outputs=tuple(row[:5] for row in case.outputs))
    document = load_sampler_map().document_for(case.sampler, case.settings)
    again = replay(shorter, document, Networks(HERE).get(case.checkpoint, case.mask_id))
    assert tuple(row[:5] for row in replayed.outputs) == again.outputs
    assert replayed.steps == again.steps


@pytest.mark.parametrize(("prompt", "expected"), [(12, 20), (16, 16), (17, 15)])
def test_a_mapping_can_ask_for_whole_blocks(prompt, expected):
    """New tokens up to the end of the last block begun, counted from the start of the row."""
    values = {"prompt": prompt, "tokens": 14, "block": 8}
    assert expected == value_of({"whole_blocks": ["prompt", "tokens", "block"]}, values)


def test_quirks_run_only_on_demand_and_are_counted_apart(tmp_path):
    """What a defect of the reference decided is no yardstick."""
    path = write_case(tmp_path, quirks=["some_defect"])
    cases = read_cases([path])
    plain = run_cases(cases, load_sampler_map(), Networks(HERE))
    assert ({}, {}) == (plain.sound, plain.quirk)
    parity = run_cases(cases, load_sampler_map(), Networks(HERE), parity=True)
    assert ["llada_scorers (quirks) 1/1"] == parity.lines()


def test_json_holds_the_whole_report(tmp_path):
    """For scripts: passed, sound and quirk tallies, misses with their first difference."""
    path = write_case(tmp_path, nfe=1)
    done = command("--json", "--fixtures", HERE, path)
    report = json.loads(done.stdout)
    assert {"passed", "sound", "quirk"} == set(report)
    assert (1, False) == (done.exit_code, report["passed"])
    (difference,) = report["sound"]["llada_scorers"]["misses"].values()
    assert "forward passes, but the reference needs 1" in difference


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a trace: it lacks id"),
        ('{"id": 1}', "is not a trace: it lacks sampler, checkpoint"),
    ],
)
def test_a_broken_trace_file_is_a_clear_error(tmp_path, text, problem):
    """The message names the file and line."""
    path = tmp_path / "broken.jsonl"
    path.write_text(text)
    with pytest.raises(RequestError, match=rf"broken\.jsonl:1 {problem}"):
        read_cases([path])


def test_a_missing_file_and_a_missing_checkpoint_exit_with_2(tmp_path):
    """A wrong request is no failed comparison."""
    missing = command("--fixtures", HERE, tmp_path / "none.jsonl")
    assert (2, True) == (missing.exit_code, "there is no trace file" in missing.stderr)
    elsewhere = command("--fixtures", tmp_path, HERE / "traces/llada_scorers.jsonl")
    assert (2, True) == (elsewhere.exit_code, "there is no checkpoint" in elsewhere.stderr)


def test_settings_that_do_not_divide_are_refused():
    """Guessing a number of steps would compare two different samplers."""
    settings = {"steps": 10, "gen_length": 32, "block_length": 12, "temperature": 0.0}
    settings |= {"cfg_scale": 0.0, "remasking": "low_confidence"}
    with pytest.raises(RequestError, match="32 / 12 leaves a remainder"):
        load_sampler_map().document_for("llada_low_confidence", settings)
