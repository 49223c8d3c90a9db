"""Documents: kinds and versions, models, where a spec is read from."""

from __future__ import annotations

import pytest

from dlmkit.errors import DlmkitError, RequestError
from dlmkit.spec import Document, ModelRef, SpecError, load_spec


def failure(source, plugins) -> str:
    """The error that loading gives."""
    with pytest.raises(DlmkitError) as caught:
        load_spec(source, plugins=plugins)
    assert 2 == caught.value.exit_code
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("dlmkit: pipeline/2", "'pipeline/2' needs a newer dlmkit; this one reads 'pipeline/1'"),
        ("dlmkit: pipeline/0", "dlmkit reads documents of the kind 'pipeline/1', not 'pipeline/0'"),
        ("dlmkit: experiment/1", "of the kind 'pipeline/1', not 'experiment/1'"),
        ("dlmkit: 1", "of the kind 'pipeline/1', not 1"),
        ("dlmkit: [x]", "of the kind 'pipeline/1', not that"),
        ("format: x", "the document needs `dlmkit: pipeline/1`, its kind and version"),
    ],
)
def test_another_kind_or_version_is_refused(written, message, good, plugins) -> None:
    """The error names what this release reads."""
    assert message in failure(good.replace("dlmkit: pipeline/1", written), plugins)


@pytest.mark.parametrize("text", ["- a\n- b\n", "dlmkit:", "\n"])
def test_what_is_no_mapping_is_refused(text: str, plugins) -> None:
    """Lists, bare values and nothing at all are no specs."""
    assert "<text>:1:" in failure(text, plugins) or "<text>:2:" in failure(text, plugins)


def test_a_document_without_models_uses_the_built_in_verifier(good, plugins) -> None:
    """A spec can be tried on a machine without any checkpoint."""
    assert {"main": ModelRef(repo="builtin/verifier")} == load_spec(good, plugins=plugins).models


def test_a_bare_model_is_its_repository(good, plugins) -> None:
    """`main: GSAI-ML/LLaDA-8B-Instruct` is short for `{repo: ...}`."""
    text = good.replace("name: good", "name: good\nmodels: {main: GSAI-ML/LLaDA-8B-Instruct}")
    assert "GSAI-ML/LLaDA-8B-Instruct" == load_spec(text, plugins=plugins).models["main"].repo


def test_a_name_of_a_model_is_lower_case(good, plugins) -> None:
    """Names of models appear in reports and file names."""
    text = good.replace("name: good", "name: good\nmodels: {'A b': x}")
    assert "models has a name that is not lower-case" in failure(text, plugins)


def test_a_file_is_read_from_its_path(tmp_path, good, plugins) -> None:
    """Paths may be given as text or as Path."""
    file = tmp_path / "a.yaml"
    file.write_text(good, encoding="utf-8")
    first = load_spec(file, plugins=plugins)
    assert first == load_spec(str(file), plugins=plugins)


def test_a_preset_is_read_by_its_name(tmp_path, good, plugins) -> None:
    """Its problems are named after the file that ships it."""
    plugins.presets["good"] = tmp_path / "good.yaml"
    plugins.presets["good"].write_text(good.replace("greedy", "zzz"), encoding="utf-8")
    assert failure("good", plugins).startswith("good.yaml:6:11: no sample strategy")


def test_an_unknown_preset_gets_the_nearest_name(plugins, tmp_path) -> None:
    """And is told how presets are listed."""
    plugins.presets["llada"] = tmp_path
    message = failure("lada", plugins)
    assert "no preset is called 'lada'" in message
    assert "did you mean 'llada'?; `dlmkit ls presets` lists them" in message


@pytest.mark.parametrize("name", ["missing.yaml", "sub/missing", "./x.yml"])
def test_a_missing_file_is_named(name: str, plugins) -> None:
    """A path that leads nowhere is a bad request, not a crash."""
    assert failure(name, plugins).startswith("there is no file ")


def test_a_folder_is_not_a_spec(tmp_path, plugins) -> None:
    """The operating system's reason is passed on."""
    assert f"cannot read {tmp_path}: Is a directory" in failure(str(tmp_path), plugins)


def test_bytes_that_are_no_text_are_refused(tmp_path, plugins) -> None:
    """A weights file given by mistake is recognised."""
    file = tmp_path / "x.yaml"
    file.write_bytes(b"dlmkit: \xff\xfe")
    assert "is not UTF-8 text (byte 8)" in failure(file, plugins)


def test_a_preset_name_is_not_mistaken_for_text() -> None:
    """Only text with line breaks, or that starts with `dlmkit:`, is a document."""
    with pytest.raises(RequestError):
        load_spec("name: x")


def test_a_document_can_be_made_in_python(good, plugins) -> None:
    """It equals the one that is read."""
    read = load_spec(good, plugins=plugins)
    made = Document(name="good", gen_length=64, pipeline=read.pipeline)
    assert made == read


def test_a_spec_error_lists_its_problems_as_data(good, plugins) -> None:
    """Other tools need not parse the text."""
    with pytest.raises(SpecError) as caught:
        load_spec(good.replace("greedy", "gready"), plugins=plugins)
    assert {
        "severity": "error",
        "file": "<text>",
        "line": 6,
        "column": 11,
        "message": "no sample strategy is called 'gready'",
        "hint": "did you mean 'greedy'?",
        "check": None,
    } == caught.value.problems[0].as_json()
