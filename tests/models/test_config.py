"""Configs are read strictly: every complaint names the file, the field and what was found."""

from __future__ import annotations

import pytest

from dlmkit.errors import ModelError
from dlmkit.models.config import Config, read_config


def test_a_missing_field_is_named_with_its_spellings():
    """All accepted spellings are listed."""
    with pytest.raises(ModelError, match=r"config\.json: field 'a' or 'b' is missing"):
        Config({}).integer("a", "b")


@pytest.mark.parametrize("value", [1.5, "8", True, 0, -3, [8]])
def test_sizes_must_be_positive_whole_numbers(value):
    """Nothing is coerced."""
    with pytest.raises(ModelError, match="layers must be a positive whole number; got"):
        Config({"layers": value}).integer("layers")


@pytest.mark.parametrize("value", ["false", 0, 1])
def test_flags_must_be_booleans(value):
    """The text "false" is not false."""
    with pytest.raises(ModelError, match="tied must be true or false"):
        Config({"tied": value}).flag("tied")


def test_null_counts_as_absent():
    """Libraries write null for what they do not set."""
    assert Config({"heads": None}).integer("heads", default=4) == 4
    assert Config({"tied": None}).flag("tied") is None


def test_the_first_spelling_that_is_present_wins():
    """Old and new names may stand side by side."""
    assert Config({"b": 2, "a": 1}).integer("a", "b") == 1


@pytest.mark.parametrize(("value", "expected"), [(7, (7,)), ([7, 9], (7, 9)), (None, ())])
def test_token_ids_may_be_one_or_several(value, expected):
    """A number, a list, or nothing."""
    assert expected == Config({"eos": value}).ids("eos")


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_theta": 5e5},
        {"rope_theta": 5e5, "rope_scaling": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    ],
)
def test_both_generations_of_rotary_fields_are_read(fields):
    """Plain `rope_theta`, or nested `rope_parameters`."""
    assert Config(fields).rotary(16).base == 5e5


def test_scaled_rotary_is_refused():
    """A variant that is not implemented never runs as the plain one."""
    fields = {"rope_theta": 1e4, "rope_scaling": {"type": "longrope", "factor": 4}}
    with pytest.raises(ModelError, match="rotary embedding of type 'longrope'"):
        Config(fields).rotary(16)


@pytest.mark.parametrize("fields", [{}, {"architectures": []}, {"architectures": "LLaDA"}])
def test_an_architecture_is_required(fields):
    """`model_type` is never used instead."""
    with pytest.raises(ModelError, match="does not say which architecture"):
        Config({**fields, "model_type": "llada"}).architecture  # noqa: B018 - read for its error


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1, "a": 2}', "\xff"])
def test_broken_files_are_named(tmp_path, text):
    """Not JSON, not an object, a key twice, not UTF-8."""
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_folder_without_config_is_not_a_checkpoint(tmp_path):
    """The hint says what a checkpoint folder holds."""
    with pytest.raises(ModelError, match=r"has no config\.json") as caught:
        read_config(tmp_path)
    assert "safetensors" in str(caught.value.hint)
