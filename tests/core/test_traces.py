"""Traces: written step by step, read back, equal to the decode."""

from __future__ import annotations

import json

import pytest

from dlmkit.accounts.traces import FORMAT, TraceWriter, read_trace
from dlmkit.errors import RequestError
from dlmkit.generation import Runner
from dlmkit.spec import load_spec
from tests.core.toy_runner import PROMPTS, toy_runner


@pytest.fixture
def traced(tmp_path):
    """A decode of three rows, its records, and the file they were written to."""
    file = tmp_path / "trace.jsonl"
    decode = toy_runner().start(PROMPTS, seed=3)
    with TraceWriter(file) as writer:
        records = list(writer.follow(decode))
    return decode, records, file


def test_the_head_describes_the_run(traced):
    """The canvas is the start, without padding."""
    decode, _, file = traced
    (trace,) = read_trace(file)
    mask = decode.canvas.mask_id
    assert ("llada", 3, mask) == (trace.pipeline, trace.seed, trace.mask_id)
    assert decode.runner.document.spec_id == trace.spec_id
    assert tuple((*prompt, *[mask] * 8) for prompt in PROMPTS) == trace.canvas


def test_the_steps_are_the_records(traced):
    """Network, counts and changes of each pass; confidences to six decimals."""
    _, records, file = traced
    (trace,) = read_trace(file)
    assert [each.counts for each in records] == [each.counts for each in trace.steps]
    for record, step in zip(records, trace.steps, strict=True):
        assert record.step == step.step
        expected = [(each.row, each.position, each.token) for each in record.changes()]
        assert expected == [(each.row, each.position, each.token) for each in step.changes]


OWN_STEPS = (
    "{use: model-steps, pipeline: {sample: greedy, confidence: probability, transfer: top-k}}"
)


def test_the_steps_say_what_they_were_for(tmp_path):
    """Guesses, and what became of them."""
    document = load_spec("ssd", ["gen_length=8", f"pipeline.draft={OWN_STEPS}"])
    file = tmp_path / "trace.jsonl"
    with TraceWriter(file) as writer:
        records = list(writer.follow(Runner(document, toy_runner().models).start(PROMPTS)))
    (trace,) = read_trace(file)
    assert [each.phase for each in records] == [each.phase for each in trace.steps]
    assert {"draft", "verify"} == {each.phase for each in trace.steps}


def test_traces_of_earlier_releases_can_still_be_read(traced):
    """They do not say what a pass was for, and are otherwise the same."""
    _, _, file = traced
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    old = [{key: value for key, value in line.items() if key != "phase"} for line in lines]
    (now,) = read_trace(file)
    file.write_text("".join(json.dumps(line) + "\n" for line in old))
    (trace,) = read_trace(file)
    assert {None} == {step.phase for step in trace.steps}
    assert [step.changes for step in now.steps] == [step.changes for step in trace.steps]


def test_an_unknown_phase_is_refused(traced):
    """A trace of a later release, perhaps."""
    _, _, file = traced
    file.write_text(file.read_text().replace('"phase": "decode"', '"phase": "dream"', 1))
    with pytest.raises(RequestError, match=":2: not a line"):
        read_trace(file)


def test_replaying_all_steps_gives_the_final_canvas(traced):
    """And replaying none the first."""
    decode, _, file = traced
    (trace,) = read_trace(file)
    rows = zip(decode.canvas.tokens_BN.tolist(), decode.canvas.length_B.tolist(), strict=True)
    assert [ids[:length] for ids, length in rows] == trace.canvas_after(len(trace.steps))
    assert [list(row) for row in trace.canvas] == trace.canvas_after(0)


def test_the_results_close_the_trace(traced):
    """As they would be printed."""
    decode, _, file = traced
    (trace,) = read_trace(file)
    assert [each.as_json() for each in decode.results()] == list(trace.results)


def test_every_step_is_on_disk_before_it_is_handed_on(tmp_path):
    """Whatever happens next, it is kept."""
    file = tmp_path / "trace.jsonl"
    with TraceWriter(file) as writer:
        records = writer.follow(toy_runner().start(PROMPTS))
        for expected in (1, 2, 3):
            next(records)
            (trace,) = read_trace(file)
            assert expected == len(trace.steps)
            assert () == trace.results


def test_a_file_holds_several_batches(tmp_path):
    """One trace for each, in order."""
    file = tmp_path / "trace.jsonl"
    with TraceWriter(file) as writer:
        for prompt in PROMPTS:
            for _ in writer.follow(toy_runner().start([prompt])):
                pass
    starts = [trace.canvas[0][: len(prompt)] for trace, prompt in zip(read_trace(file), PROMPTS)]  # noqa: B905
    assert [tuple(prompt) for prompt in PROMPTS] == starts


def test_an_unfinished_last_line_is_left_out(traced):
    """A process that was killed may have written half of it."""
    _, records, file = traced
    whole = file.read_text()
    file.write_text(whole[: whole.rindex('{"results"') + 20])
    (trace,) = read_trace(file)
    assert len(records) == len(trace.steps)
    assert () == trace.results


@pytest.mark.parametrize(
    "line",
    ["not json", "[]", "{}", '{"step": 0}', '{"dlmkit": "trace/9"}', '{"results": 3}', "null"],
)
def test_a_foreign_line_is_refused_by_number(traced, line):
    """With what would be right."""
    _, _, file = traced
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    with pytest.raises(RequestError, match=rf":3: not a line of a dlmkit trace \({FORMAT}\)"):
        read_trace(file)


def test_a_step_before_any_head_is_refused(tmp_path):
    """A trace starts with its head."""
    file = tmp_path / "trace.jsonl"
    file.write_text(json.dumps({"results": []}) + "\n")
    with pytest.raises(RequestError, match=":1: not a line"):
        read_trace(file)


def test_a_missing_file_and_an_unwritable_one_are_refused(tmp_path):
    """Never a stack trace."""
    with pytest.raises(RequestError, match="cannot read"):
        read_trace(tmp_path / "missing")
    with pytest.raises(RequestError, match="cannot write the trace"):
        TraceWriter(tmp_path / "no" / "folder")
