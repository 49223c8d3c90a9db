"""Damaged or foreign weight files give an error that says which file and what to do."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from dlmkit.errors import ModelError
from dlmkit.models.tensor_files import TensorReader, list_tensors


@pytest.fixture
def sharded(tmp_path):
    save_file({"a": torch.ones(4, 2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "two.safetensors")
    write_index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    return tmp_path


def write_index(folder, weight_map):
    text = json.dumps({"weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(text)


def refused(folder, match):
    with pytest.raises(ModelError, match=match) as caught:
        list_tensors(folder)
    assert caught.value.hint


def test_headers_tell_shape_type_and_file(sharded):
    """Listing reads no weights."""
    found = list_tensors(sharded)
    assert {"a": (4, 2), "b": (3,)} == {name: stored.shape for name, stored in found.items()}
    assert torch.float32 == found["a"].dtype
    assert 32 == found["a"].nbytes
    assert "one.safetensors" == found["a"].path.name


@pytest.mark.parametrize("keep", [0, 7, 40, 90, -1])
def test_a_truncated_file_is_named(tmp_path, keep):
    """Cut in the length, in the header or in the last weight: always the same clear error."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(8, 8)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(tmp_path, "model.safetensors is not a complete safetensors file")


def test_a_corrupt_header_is_named(tmp_path):
    """Text in place of a header is not read as weights."""
    (tmp_path / "model.safetensors").write_text("<!doctype html> not found" * 10)
    refused(tmp_path, "is not a complete safetensors file")


def test_a_missing_shard_is_named(sharded):
    """An index that names a file that is not there."""
    (sharded / "two.safetensors").unlink()
    refused(sharded, "names the file 'two.safetensors', which is not in")


def test_a_shard_outside_the_folder_is_refused(sharded):
    """An index cannot make the loader read elsewhere."""
    write_index(sharded, {"a": "../one.safetensors"})
    refused(sharded, r"names the file '\.\./one\.safetensors'")


def test_a_tensor_that_is_not_in_its_shard_is_named(sharded):
    """Index and shard disagree."""
    write_index(sharded, {"a": "one.safetensors", "c": "two.safetensors"})
    refused(sharded, r"two\.safetensors holds tensor 'c', but it does not")


def test_a_tensor_that_the_index_omits_is_named(sharded):
    """Every tensor of every shard is accounted for."""
    write_index(sharded, {"a": "one.safetensors"})
    save_file({"a": torch.ones(4, 2), "z": torch.ones(1)}, sharded / "one.safetensors")
    refused(sharded, "holds tensor 'z', which model.safetensors.index.json does not list")


def test_an_index_with_a_tensor_twice_is_refused(sharded):
    """JSON would keep the last; we say so instead."""
    text = '{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}'
    (sharded / "model.safetensors.index.json").write_text(text)
    refused(sharded, "key 'a' is given twice")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}'])
def test_a_broken_index_is_named(sharded, text):
    """Not JSON, not an object, or without a map."""
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json"):
        list_tensors(sharded)


def test_pickles_are_refused_with_the_way_out(tmp_path):
    """A checkpoint that could run code is never opened."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    refused(tmp_path, r"only as Python pickles \(pytorch_model\.bin\)")


def test_no_weights_at_all(tmp_path):
    """An interrupted download is a likely cause, and named."""
    refused(tmp_path, "holds no weights")


def test_quantised_tensors_are_refused(tmp_path):
    """Integers are not silently taken for weights."""
    save_file({"a": torch.ones(2, dtype=torch.int8)}, tmp_path / "model.safetensors")
    refused(tmp_path, "tensor 'a' has type I8")


def test_tensors_are_views_of_the_file(tmp_path):
    """Reading maps memory: two readers see equal values, and the file closes with its views."""
    save_file({"a": torch.arange(6.0)}, tmp_path / "model.safetensors")
    stored = list_tensors(tmp_path)["a"]
    assert torch.equal(TensorReader().read(stored), TensorReader().read(stored))
