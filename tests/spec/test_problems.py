"""What a user reads when a spec is wrong: every problem at once, its place, and a hint."""

from __future__ import annotations

import pytest

from dlmkit.plugins.manager import PluginFailure
from dlmkit.spec import SpecError, load_spec

BAD = """\
dlmkit: pipeline/1
name: bad
models: {main: {repo: toy, dtyp: float32}}
gen_length: 64
pipeline:
  blocks: {use: fixed, length: 32}
  cash: dual
  sample: gready
  confidence: threshold
  transfer: {use: threshold, threshold: 0.9}
  transfer: {use: threshold, threshold: 0.9}
  exit:
    - {use: prophet, gaps: [7.5, "5", 2.5]}
"""

REPORT = """\
bad.yaml:3:28: models.main has no option 'dtyp'
     3 | models: {main: {repo: toy, dtyp: float32}}
       |                            ^ did you mean 'dtype'?
bad.yaml:7:3: pipeline (denoise) has no option 'cash'
     7 |   cash: dual
       |   ^ did you mean 'cache'?
bad.yaml:8:11: no sample strategy is called 'gready'
     8 |   sample: gready
       |           ^ did you mean 'greedy'?
bad.yaml:9:15: no confidence strategy is called 'threshold'
     9 |   confidence: threshold
       |               ^ 'threshold' is a transfer strategy
bad.yaml:11:3: duplicate key 'transfer'
    11 |   transfer: {use: threshold, threshold: 0.9}
       |   ^ first given on line 10
bad.yaml:13:34: pipeline.exit[0].gaps[1] must be a number; got '5'
    13 |     - {use: prophet, gaps: [7.5, "5", 2.5]}
       |                                  ^"""


def report(text: str, plugins, overrides=()) -> str:
    """The message for a document with problems."""
    with pytest.raises(SpecError) as caught:
        load_spec(text, overrides, plugins=plugins)
    return str(caught.value)


def problem(text: str, plugins) -> tuple[str, str | None]:
    """Message and hint of the only problem."""
    with pytest.raises(SpecError) as caught:
        load_spec(text, plugins=plugins)
    (only,) = caught.value.problems
    return only.message, only.hint


def test_all_problems_come_at_once_in_file_order(tmp_path, plugins) -> None:
    """One run of the checker is enough to mend a file."""
    file = tmp_path / "bad.yaml"
    file.write_text(BAD, encoding="utf-8")
    assert report(str(file), plugins).replace(f"{tmp_path}/", "") == REPORT


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("threshold: 0.9", "treshold: 0.9",
         "pipeline.transfer (threshold) has no option 'treshold'", "did you mean 'threshold'?"),
        ("sample: greedy", "sample: {use: greedy, x: 1}",
         "pipeline.sample (greedy) has no option 'x'", "it takes no options"),
        ("  sample: greedy\n", "",
         "pipeline (denoise) needs 'sample': the sampler", None),
        ("sample: greedy", "sample: {}",
         "pipeline.sample needs 'use', the name of a sample strategy", "known: greedy, when"),
        ("sample: greedy", "sample: {use: 3}",
         "pipeline.sample.use must be the name of a sample strategy", "known: greedy, when"),
        ("sample: greedy", "sample: 3",
         "pipeline.sample must be a sample strategy; got 3", "known: greedy, when"),
        ("sample: greedy", "sample:",
         "pipeline.sample must be a sample strategy; got null", "known: greedy, when"),
        ("{use: threshold, threshold: 0.9}", "[threshold, threshold]",
         "pipeline.transfer takes one transfer strategy, not a list",
         "combine them with 'union' or 'intersect' or 'fallback': "
         "`transfer: {use: union, of: [...]}`"),
        ("sample: greedy", "sample: [greedy, greedy]",
         "pipeline.sample takes one sample strategy, not a list", "keep one of them"),
        ("threshold: 0.9", "threshold: 1.5",
         "pipeline.transfer.threshold must be at most 1; got 1.5", None),
        ("gen_length: 64", "gen_length: 0", "gen_length must be at least 1; got 0", None),
        ("gen_length: 64", "gen_length: -32", "gen_length must be at least 1; got -32", None),
        ("gen_length: 64", "gen_length: 64.0",
         "gen_length must be a whole number; got 64.0", None),
        ("name: good", "name: 3", "name must be text; got 3", None),
        ("name: good", "name: ''", "name must not be empty; got ''", None),
        ("use: threshold, threshold: 0.9", "use: threshold, threshold: 2e400",
         "pipeline.transfer.threshold must be a number or a numeric schedule; got inf", None),
        ("use: threshold, threshold: 0.9",
         "use: threshold, threshold: {schedule: linear, from: 2, to: 1}",
         "pipeline.transfer.threshold must be at most 1; got a mapping", None),
        ("use: threshold, threshold: 0.9", "use: threshold, threshold: {schedule: linaer}",
         "no numeric schedule is called 'linaer'", "did you mean 'linear'?"),
        ("use: threshold, threshold: 0.9", "use: threshold, threshold: linear",
         "pipeline.transfer.threshold must be a number or a numeric schedule; got 'linear'", None),
        ("  sample: greedy", "  sample: greedy\n  exit: {use: prophet, scope: cnvas}",
         "pipeline.exit.scope must be one of 'block', 'canvas'; got 'cnvas'",
         "did you mean 'canvas'?"),
        ("  sample: greedy", "  sample: greedy\n  exit: {use: prophet, span: {hihg: 3}}",
         "pipeline.exit.span has no option 'hihg'", "did you mean 'high'?"),
        ("  sample: greedy",
         "  sample: greedy\n  exit: {use: prophet, strict: true, scope: canvas}",
         "a strict exit leaves blocks only", "write `scope: block`"),
        ("{use: threshold, threshold: 0.9}",
         "{use: when, condition: {}, then: threshold, otherwise: threshold}",
         "pipeline.transfer.condition: a condition needs one of progress, block, step, row", None),
        ("{use: threshold, threshold: 0.9}", "{use: union, of: [threshold]}",
         "pipeline.transfer.of must have at least two members; got a list", None),
        ("name: good", "name: good\nmodels: {}", "models must not be empty; got a mapping", None),
        ("name: good", "name: good\nmodels: builtin/verifier",
         "models must be a mapping; got 'builtin/verifier'", None),
        ("name: good", "name: good\npipelin: x",
         "the document has no option 'pipelin'", "did you mean 'pipeline'?"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_message_and_hint(old, new, message, hint, good, plugins) -> None:
    """A good document with one mistake gives exactly one problem."""
    assert old in good
    assert (message, hint) == problem(good.replace(old, new), plugins)


@pytest.mark.parametrize("value", ["'0.9'", "true", "null", "[0.9]"])
def test_a_number_is_never_made_from_anything_else(value: str, good, plugins) -> None:
    """Text, flags, null and lists are not numbers."""
    message, _ = problem(good.replace("threshold: 0.9", f"threshold: {value}"), plugins)
    assert message.startswith("pipeline.transfer.threshold must be a number")


@pytest.mark.parametrize("value", ["'false'", "no", "0", "1", "null"])
def test_a_flag_is_true_or_false(value: str, good, plugins) -> None:
    """Neither text nor numbers are flags."""
    text = good.replace(
        "  sample: greedy", f"  exit: {{use: prophet, strict: {value}}}\n  sample: greedy"
    )
    message, _ = problem(text, plugins)
    assert message.startswith("pipeline.exit.strict must be true or false; got ")


@pytest.mark.parametrize("value", ["3.7", "32.0", "'32'", "true", "[32]", "{x: 1}"])
def test_a_whole_number_is_never_rounded(value: str, good, plugins) -> None:
    """Not even 32.0 is an integer."""
    message, _ = problem(good.replace("length: 32", f"length: {value}"), plugins)
    assert message.startswith("pipeline.blocks.length must be a whole number; got ")


def test_a_whole_number_is_accepted_where_a_number_is_expected(good, plugins) -> None:
    """`threshold: 1` means 1.0."""
    document = load_spec(good.replace("threshold: 0.9", "threshold: 1"), plugins=plugins)
    assert 1.0 == document.pipeline.transfer.threshold
    assert isinstance(document.pipeline.transfer.threshold, float)


def test_a_failed_plugin_is_named_where_a_name_is_unknown(good, plugins) -> None:
    """The missing strategy may be in the plugin that could not be loaded."""
    plugins.failures.append(PluginFailure("annealed", "dlmkit-annealed", "ImportError: no x"))
    _, hint = problem(good.replace("sample: greedy", "sample: zzz"), plugins)
    assert (
        "it may be missing because of plugin 'annealed' of dlmkit-annealed: ImportError: no x"
        == hint
    )


def test_warnings_do_not_stop_a_document(good, plugins) -> None:
    """They are kept with the document, with their position."""
    document = load_spec(
        good.replace(
            "{use: threshold, threshold: 0.9}", "{use: quota, steps_per_block: 32}"
        ).replace("  sample: greedy", "  sample: greedy\n  max_steps: 10"),
        plugins=plugins,
    )
    assert ["<text>:7:14"] == [str(warning.mark) for warning in document.warnings]


def test_a_caret_stands_under_the_mistake_behind_tabs(plugins, good) -> None:
    """A tab before the mistake is repeated, so that the caret lines up."""
    text = good.replace("greedy", '{use: greedy, "a\tb": 1, c: 2}')
    line = '  sample: {use: greedy, "a\tb": 1, c: 2}'
    caret = " " * 26 + "\t" + " " * 7 + "^ it takes no options"
    assert f"     6 | {line}\n       | {caret}" in report(text, plugins)
