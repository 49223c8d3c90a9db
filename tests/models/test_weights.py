"""Loading consumes every tensor once, fills every parameter once, and says precisely what fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dlmkit.errors import EngineError, ModelError
from dlmkit.models import weights
from dlmkit.models.names import Drop, NameMap, Rename, SplitRows
from dlmkit.models.tensor_files import StoredTensor
from dlmkit.models.weights import plan_weights
from tests.models.checkpoints import load_folder, tiny_config, tiny_tensors, write_checkpoint

FUZZ = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def config():
    return tiny_config()


@pytest.fixture(scope="module")
def tensors(config):
    return tiny_tensors(config)


def weights_of(path, **options):
    return dict(load_folder(path, **options).network.decoder.named_parameters())


@pytest.mark.parametrize("shards", [1, 3])
def test_weights_are_those_of_the_file(tmp_path, config, tensors, shards):
    """One file or several with an index: the same values in the same places."""
    found = weights_of(write_checkpoint(tmp_path, config, tensors, shards))
    torch.testing.assert_close(
        tensors["model.transformer.blocks.1.ff_proj.weight"],
        found["model.layers.1.mlp.gate_proj.weight"],
        atol=0,
        rtol=0,
    )
    assert len(tensors) == len(found)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_weights_are_converted_one_by_one(tmp_path, config, tensors, dtype):
    """Asking for a type gives that type, rounded once."""
    found = weights_of(write_checkpoint(tmp_path, config, tensors), dtype=dtype)
    expected = tensors["model.transformer.wte.weight"].to(getattr(torch, dtype))
    assert torch.equal(expected, found["model.embed_tokens.weight"])


def test_progress_ends_at_the_total(tmp_path, config, tensors):
    """Progress counts bytes upwards and reaches the total."""
    calls = []
    load_folder(
        write_checkpoint(tmp_path, config, tensors), progress=lambda *call: calls.append(call)
    )
    total = sum(value.numel() * 4 for value in tensors.values())
    assert (total, total) == calls[-1]
    assert calls == sorted(calls)


@FUZZ
@given(data=st.data())
def test_a_missing_tensor_is_named(tmp_path, config, tensors, data):
    """Removing any tensor is reported under its name in the file."""
    name = data.draw(st.sampled_from(sorted(set(tensors) - {"model.transformer.ff_out.weight"})))
    write_checkpoint(tmp_path, config, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(ModelError, match=f"tensor '{name}' is missing"):
        load_folder(tmp_path)


@FUZZ
@given(data=st.data())
def test_a_renamed_tensor_is_unexpected_and_missed(tmp_path, config, tensors, data):
    """Renaming any tensor is reported from both sides."""
    name = data.draw(st.sampled_from(sorted(tensors)))
    write_checkpoint(tmp_path, config, {f"{k}_" if k == name else k: v for k, v in tensors.items()})
    with pytest.raises(ModelError) as caught:
        load_folder(tmp_path)
    assert f"tensor '{name}_' is unexpected" in str(caught.value)
    assert f"tensor '{name}' is missing" in str(caught.value)


@FUZZ
@given(data=st.data())
def test_a_misshapen_tensor_is_reported_with_both_shapes(tmp_path, config, tensors, data):
    """File, tensor, expected and found shape stand in the error."""
    name = data.draw(st.sampled_from(sorted(tensors)))
    right = list(tensors[name].shape)
    wrong = [right[0] + 1, *right[1:]]
    write_checkpoint(tmp_path, config, {**tensors, name: torch.zeros(wrong)})
    with pytest.raises(ModelError) as caught:
        load_folder(tmp_path)
    assert f"model.safetensors: tensor '{name}' has shape {wrong}" in str(caught.value)
    assert f"needs {right}" in str(caught.value)


def test_transposing_a_weight_is_an_error_not_a_reshape(tmp_path, config, tensors):
    """Equal numbers of weights are not enough."""
    name = "model.transformer.blocks.0.ff_proj.weight"
    write_checkpoint(tmp_path, config, {**tensors, name: tensors[name].T.contiguous()})
    with pytest.raises(ModelError, match="has shape \\[32, 48\\]"):
        load_folder(tmp_path)


def test_a_tensor_in_two_shards_is_an_error(tmp_path, config, tensors):
    """The error names both files."""
    write_checkpoint(tmp_path, config, tensors, shards=2)
    first, second = sorted(tmp_path.glob("*.safetensors"))
    name = next(iter(load_file(first)))
    save_file({**load_file(second), name: tensors[name]}, second)
    with pytest.raises(ModelError, match=f"'{name}' is stored twice: in {first.name} and"):
        load_folder(tmp_path)


def test_two_names_for_one_parameter_are_an_error():
    """A parameter filled by two tensors is refused, whichever came first."""
    file = Path("a.safetensors")
    stored = [StoredTensor(name, file, (2,), torch.float32) for name in ("w", "module.w")]
    names = NameMap((Rename("w", "w"), Rename("module.w", "w")))
    with pytest.raises(ModelError, match=r"'module\.w' fills w, which 'w' fills already"):
        plan_weights({"w": (2,)}, names, stored)


def test_split_tensors_must_use_all_rows():
    """A fused tensor with rows left over is refused."""
    stored = [StoredTensor("qkv", Path("a.safetensors"), (5, 2), torch.float32)]
    names = NameMap((SplitRows("qkv", ("q", "k"), (2, 2)),))
    with pytest.raises(ModelError, match="has 5 rows, but its parts take 4"):
        plan_weights({"q": (2, 2), "k": (2, 2)}, names, stored)


def test_dropped_tensors_are_consumed_without_a_destination():
    """A tensor on the ignore list is neither unexpected nor loaded."""
    stored = [StoredTensor("rotary.inv_freq", Path("a.safetensors"), (5,), torch.float32)]
    (assignment,) = plan_weights({}, NameMap((Drop("rotary.inv_freq"),)), stored)
    assert assignment.pieces == ()


def test_many_problems_are_counted(tmp_path, config, tensors):
    """At most five are spelled out."""
    write_checkpoint(tmp_path, config, dict(list(tensors.items())[:2]))
    with pytest.raises(ModelError, match=rf"and {len(tensors) - 2 - 5} more"):
        load_folder(tmp_path)


def test_tied_flag_with_a_head_tensor_points_at_the_flag(tmp_path, config, tensors):
    """An explicit flag wins: the head tensor is one too many, and the hint says where to look."""
    write_checkpoint(tmp_path, {**config, "weight_tying": True}, tensors)
    with pytest.raises(ModelError, match=r"ff_out\.weight' is unexpected") as caught:
        load_folder(tmp_path)
    assert "weight-tying flag" in str(caught.value)


@pytest.mark.parametrize("stored", [True, False])
def test_without_a_flag_the_files_decide_about_tying(tmp_path, config, tensors, stored):
    """The head is tied exactly if no tensor is stored for it."""
    head = "model.transformer.ff_out.weight"
    kept = {name: value for name, value in tensors.items() if stored or name != head}
    write_checkpoint(tmp_path, {**config, "weight_tying": None}, kept)
    decoder = load_folder(tmp_path).network.decoder
    assert (decoder.lm_head is not None) == stored


def test_index_order_does_not_matter(tmp_path, config, tensors):
    """A shuffled index loads the same model."""
    write_checkpoint(tmp_path, config, tensors, shards=2)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = dict(reversed(index["weight_map"].items()))
    path.write_text(json.dumps(index))
    assert len(tensors) == len(weights_of(tmp_path))


def test_a_load_that_cannot_fit_is_refused_at_once(tmp_path, config, tensors, monkeypatch):
    """Converting needs room; the hint names the format that needs none."""
    monkeypatch.setattr(weights, "free_bytes", lambda device: 1000)
    write_checkpoint(tmp_path, config, tensors)
    with pytest.raises(EngineError, match=r"GiB as float64, but only 0\.0 GiB are free") as caught:
        load_folder(tmp_path, dtype="float64")
    assert "--dtype float32, as stored" in caught.value.hint


def test_mapped_weights_need_no_free_memory(tmp_path, config, tensors, monkeypatch):
    """As stored, on the CPU, a checkpoint loads however little is free."""
    monkeypatch.setattr(weights, "free_bytes", lambda device: 1000)
    write_checkpoint(tmp_path, config, tensors)
    assert len(tensors) == len(weights_of(tmp_path, dtype="float32"))
