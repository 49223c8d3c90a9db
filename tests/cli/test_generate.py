"""`dlmkit generate`: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dlmkit.accounts.traces import read_trace
from dlmkit.cli.main import main
from dlmkit.cli.prompt_input import SAMPLE, read_prompts
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.errors import RequestError
from dlmkit_export.runtime.engine import OnnxRuntimeEngine

KEYS = [
    "text",
    "tokens",
    "nfe",
    "fed_positions",
    "tokens_per_forward",
    "seconds",
    "pipeline",
    "spec_id",
    "seed",
]
RANDOM = ("--pipeline", "llada-sampling", "--set", "pipeline.sample.temperature=1.0")


def objects(result) -> list[dict]:
    assert 0 == result.exit_code, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def texts(result) -> list[str]:
    return [each["text"] for each in objects(result)]


def refusal(result) -> str:
    """What a refused request says; never a stack trace, never data."""
    assert 2 == result.exit_code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def test_json_has_the_stable_keys_first(run):
    """One object for each prompt, in one line."""
    (found,) = objects(run("generate", "--json", "sort: 3 1 2"))
    assert list(found)[: len(KEYS)] == KEYS
    assert {"main": 32} == found["nfe"]
    assert "llada" == found["pipeline"]
    assert 0 == found["seed"]


def test_standard_output_is_the_text_and_nothing_else(run):
    """Table and notes go to standard error."""
    text = texts(run("generate", "--json", "sort: 3 1 2"))[0]
    result = run("generate", "sort: 3 1 2")
    assert f"{text}\n" == result.stdout
    assert "tokens per forward" in result.stderr


def test_quiet_writes_nothing_to_standard_error(run):
    """For scripts."""
    assert run("generate", "--quiet", "sort: 3 1 2").stderr == ""


def test_without_a_prompt_a_sample_is_decoded_and_said_so(run):
    """The first run needs no thought."""
    result = run("generate")
    assert 0 == result.exit_code
    assert SAMPLE[:40] in result.stderr
    assert SAMPLE[:40] not in result.stdout


@pytest.mark.parametrize("engine", [(), ("--engine", "torch")], ids=["usual", "torch"])
def test_without_options_a_drafter_and_a_verifier_decode(engine, monkeypatch):
    """The front door: both built in, and the text is the verifier's own."""
    opened = []
    load = OnnxRuntimeEngine.load
    monkeypatch.setattr(
        OnnxRuntimeEngine, "load", lambda *given: opened.append(given[1]) or load(*given)
    )
    short = ["generate", *engine, "--json", "--set", "gen_length=16", "sort: 3 1 2"]
    (found,) = objects(CliRunner().invoke(main, short))
    assert "dual-diffusion-lossless" == found["pipeline"]
    assert {"verifier", "drafter"} == set(found["nfe"])
    plain = CliRunner().invoke(main, [part for part in short if part != "--json"])
    ledger = found["ledger"]
    account = f"drafted {ledger['proposed']}: kept {ledger['accepted']}, corrected 0, sent back "
    assert account + str(ledger["remasked"]) in plain.stderr
    assert found["nfe"]["verifier"] < 16
    assert found["ledger"]["accepted"] > 0
    assert "1 2 3" == found["text"]
    usual = ["builtin/verifier", "builtin/drafter"]
    assert ([] if engine else 2 * usual) == opened  # for each of the two commands


def test_a_single_model_is_decoded_by_itself(run):
    """A drafter for somebody else's model is not at hand."""
    (found,) = objects(run("generate", "--json", "copy: 1"))
    assert ("llada", {"main": 32}) == (found["pipeline"], found["nfe"])


def test_the_same_seed_gives_the_same_text(run):
    """And another seed another one."""
    first = run("generate", *RANDOM, "--json", "--seed", "3", "tell me")
    again = run("generate", *RANDOM, "--json", "--seed", "3", "tell me")
    other = run("generate", *RANDOM, "--json", "--seed", "4", "tell me")
    assert texts(first) == texts(again)
    assert texts(first) != texts(other)


@pytest.mark.parametrize("size", [2, 3])
def test_the_batch_size_does_not_change_the_texts(run, size):
    """Prompts of different lengths, tokens drawn at random."""
    prompts = ["sort: 3 1 2", "a much longer prompt than all the others", "copy: 7"]
    alone = run("generate", *RANDOM, "--json", *prompts)
    together = run("generate", *RANDOM, "--json", "--batch-size", str(size), *prompts)
    assert texts(alone) == texts(together)
    assert [each["nfe"] for each in objects(alone)] == [each["nfe"] for each in objects(together)]


def test_prompts_come_from_a_file_one_on_each_line(run, tmp_path):
    """Blank lines do not count."""
    file = tmp_path / "prompts.txt"
    file.write_text("copy: 1\n\ncopy: 2\n")
    expected = texts(run("generate", "--json", "copy: 1", "copy: 2"))
    assert expected == texts(run("generate", "--json", "--file", str(file)))


def test_prompts_come_from_json_lines(run, tmp_path):
    """Under the key `prompt`; line breaks inside a prompt survive."""
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "two\\nlines", "id": 1}\n')
    expected = texts(run("generate", "--json", "two\nlines"))
    assert expected == texts(run("generate", "--json", "--file", str(file)))


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_prompts_come_from_standard_input(run, arguments):
    """Piped in, or asked for with a dash."""
    expected = texts(run("generate", "--json", "copy: 1"))
    assert expected == texts(run("generate", "--json", *arguments, stdin="copy: 1\n"))


def test_infilling_keeps_the_given_text(run):
    """Only the gaps are counted as tokens."""
    (found,) = objects(run("generate", "--infill", "--json", "1 2 <mask> 4 <mask*2> 7"))
    assert found["text"].startswith("1 2")
    assert found["text"].endswith(" 7")
    assert 3 == found["tokens"]


def test_plain_prompts_skip_the_chat_template(run):
    """Fewer positions are fed than in a chat turn."""
    plain, chat = (
        objects(run("generate", "--json", mode, "copy: 1"))[0] for mode in ("--plain", "--chat")
    )
    assert plain["fed_positions"] < chat["fed_positions"]


def test_a_trace_replays_to_the_decoded_texts(run, tmp_path):
    """Each batch is a trace of its own, with the results that were printed."""
    file = tmp_path / "trace.jsonl"
    printed = objects(run("generate", "--json", "--trace", str(file), "copy: 1", "sort: 2 1"))
    traces = read_trace(file)
    assert printed == [result for trace in traces for result in trace.results]
    assert [32, 32] == [len(trace.steps) for trace in traces]
    for trace in traces:
        assert all(trace.mask_id not in row for row in trace.canvas_after(len(trace.steps)))


def test_an_interrupted_run_keeps_the_trace_so_far(run, tmp_path, monkeypatch):
    """Exit code 130, and every finished step is in the file."""
    calls, forward = [], TorchNetwork.forward

    def interrupted(self, inputs, need):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return forward(self, inputs, need)

    monkeypatch.setattr(TorchNetwork, "forward", interrupted)
    file = tmp_path / "trace.jsonl"
    result = run("generate", "--trace", str(file), "copy: 1")
    assert 130 == result.exit_code
    assert "interrupted" in result.stderr
    assert "" == result.stdout
    (trace,) = read_trace(file)
    assert 5 == len(trace.steps)


def test_several_models_need_a_name(run):
    """A name that the spec does not have is refused with those it has."""
    message = refusal(run("generate", "--model", "verifier=builtin/verifier", "hi"))
    assert "no model called 'verifier'" in message
    assert "main" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--pipeline", "lada"], "did you mean 'llada'?"),
        (["--pipeline", "missing.yaml"], "there is no file missing.yaml"),
        (["--set", "gen_lenght=3"], "gen_length"),
        (["--set", "gen_length=3.7"], "gen_length"),
        (["--set", "gen_length=0"], "must be at least 1"),
        (["--set", "gen_length=33"], "33"),
        (["--set", "gen_length=256"], "the model's context is 128"),
        (["--set", "models.main.mask_id=100000"], "mask"),
        (["--model", "no/such-folder/here"], "no/such-folder/here"),
        (["--engine", "abacus"], "abacus"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--dtype", "int3"], "int3"),
        (["--seed", "-1"], "seed"),
        (["--batch-size", "0"], "batch-size"),
        (["--file", "missing.txt"], "missing.txt"),
    ],
)
def test_bad_options_are_refused(run, arguments, expected):
    """Exit code 2 and a message that names what is wrong."""
    prompt = [] if "--file" in arguments else ["copy: 1"]
    assert expected in refusal(run("generate", *arguments, *prompt))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fill <mask> this"], "--infill"),
        (["a <|mask|> b"], "--infill"),
        (["--infill", "nothing to fill"], "no gap to fill"),
        (["--infill", "too long <mask*999999999>"], "a gap cannot have 999999999 tokens"),
        (["  "], "prompt 1 is empty"),
        (["ok", ""], "prompt 2 is empty"),
        (["one two three four five " * 30], "shorten the prompt"),
    ],
)
def test_bad_prompts_are_refused(run, arguments, expected):
    """Before anything is decoded, by number."""
    assert expected in refusal(run("generate", *arguments))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "holds no prompt"),
        (b"\n \n", "holds no prompt"),
        (b'{"prompt": "a"}\nnot json\n', ":2: not JSON"),
        (b'{"text": "a"}\n', ':1: there is no text under "prompt"'),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_bad_prompt_files_are_refused(run, tmp_path, content, expected):
    """With the line where there is one."""
    file = tmp_path / "prompts"
    file.write_bytes(content)
    assert expected in refusal(run("generate", "--file", str(file)))


def test_a_trace_that_cannot_be_written_is_refused_before_decoding(run, tmp_path):
    """Nothing is decoded for nothing."""
    message = refusal(run("generate", "--trace", str(tmp_path / "no" / "trace"), "copy: 1"))
    assert "cannot write the trace" in message


def test_a_truncated_checkpoint_is_refused(run, tiny_model, tmp_path):
    """The file is named."""
    for file in Path(tiny_model).iterdir():
        content = file.read_bytes()
        keep = len(content) // 2 if file.suffix == ".safetensors" else len(content)
        (tmp_path / file.name).write_bytes(content[:keep])
    message = refusal(run("generate", "--model", str(tmp_path), "copy: 1"))
    assert "model.safetensors" in message


def test_help_does_not_import_torch():
    """It must be instant."""
    script = (
        "import sys; from dlmkit.cli.main import main\n"
        "try: main(['generate', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert 0 == result.returncode
    assert b"--pipeline" in result.stdout


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_file_at_standard_input_is_refused(text, tmp_path, monkeypatch):
    """As one given with --file is; a sample is decoded only where nothing was given."""
    (tmp_path / "prompts.txt").write_text(text)
    with (tmp_path / "prompts.txt").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(RequestError, match="the file at standard input holds no prompt"):
            read_prompts([], None)


def test_what_profile_measures_is_what_generate_runs(monkeypatch, tmp_path):
    """The usual engine of built-in models; before, the number is missing, with what to run."""
    monkeypatch.setattr("dlmkit.profiling.store._folder", lambda: tmp_path)
    short = ["generate", "--json", "--pipeline", "fast-dllm", "--set", "gen_length=32", "copy: 1"]
    (before,) = objects(CliRunner().invoke(main, short))
    assert before["weighted_nfe"] is None
    assert "`dlmkit profile --pipeline fast-dllm`" in before["weighted_nfe_missing"]
    measured = ["profile", "--pipeline", "fast-dllm", "--rows", "1", "--fed", "8,64", "-n", "1"]
    assert 0 == CliRunner().invoke(main, measured).exit_code
    (after,) = objects(CliRunner().invoke(main, short))
    assert after["weighted_nfe"] > 0
    assert after["weighted_nfe_missing"] is None
