"""MDLM and BD3-LM: their own transformer behind the same contract."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from dlmkit.errors import ModelError
from tests.engines.calls import feed, logits
from tests.models.checkpoints import folder, load_folder, loaded, recorded, write_checkpoint
from tests.models.test_parity import TOLERANCE, visible


@pytest.fixture
def unconditioned(tmp_path):
    """The MDLM checkpoint as releases are: time conditioning switched off."""

    def load(dtype="float32"):
        source = folder("mdlm")
        config = json.loads((source / "config.json").read_text())
        tensors = load_file(source / "model.safetensors")
        path = write_checkpoint(tmp_path, {**config, "time_conditioning": False}, tensors)
        return load_folder(path, dtype=dtype).network

    return load


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_mdlm_at_noise_level_zero_equals_the_reference(unconditioned, dtype):
    """Releases have time conditioning off, which means level zero."""
    arrays = recorded("mdlm")
    found_BQV = logits(unconditioned(dtype), arrays["input_ids_masked"])
    expected_BQV = arrays["logits_masked_sigma0"].to(found_BQV.dtype)
    assert_close(expected_BQV, found_BQV, **TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["short", "masked", "long", "batch"])
def test_mdlm_is_modulated_by_the_noise_level(unconditioned, name):
    """The module itself takes one level per row."""
    arrays, module = recorded("mdlm"), unconditioned().decoder
    ids_BQ, noise_B = arrays[f"input_ids_{name}"], arrays[f"sigma_{name}"].float()
    positions_BQ = torch.arange(ids_BQ.shape[1]).expand_as(ids_BQ)
    with torch.inference_mode():
        hidden_BQD, _, _ = module(ids_BQ, positions_BQ, noise_B=noise_B)
        found_BQV = module.head(hidden_BQD, noise_B)
    assert_close(arrays[f"logits_{name}"], found_BQV, **TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["bd3lm", "bd3lm_adaln"])
def test_bd3_lm_equals_the_reference(name, dtype):
    """With and without modulation, block-causal, whatever the noise level."""
    arrays, network = recorded(name), loaded(name, dtype=dtype).network
    for each in ("short", "masked", "batch"):
        ids_BQ = arrays[f"input_ids_{each}"]
        found_BQV = logits(network, ids_BQ, mask_new_B1QQ=visible(network, ids_BQ))
        assert_close(arrays[f"logits_{each}"].to(found_BQV.dtype), found_BQV, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["bd3lm", "bd3lm_adaln"])
def test_bd3_lm_reads_noised_blocks_beside_a_clean_text(name, dtype):
    """As in training: a noised block sees itself and the clean blocks before it, at one place."""
    arrays, network = recorded(name), loaded(name, dtype=dtype).network
    noised_BQ, clean_BQ = arrays["input_ids_train_xt"], arrays["input_ids_train_x0"]
    count = noised_BQ.shape[1]
    places_Q = torch.arange(count).repeat(2)
    block_Q = places_Q // int(arrays["block_size"])
    noised_Q = torch.arange(2 * count) < count
    earlier_QQ = block_Q[None, :] < block_Q[:, None]
    same_QQ = (block_Q[None, :] == block_Q[:, None]) & (noised_Q[None, :] == noised_Q[:, None])
    found_BQV = logits(
        network,
        torch.cat((noised_BQ, clean_BQ), dim=1),
        positions_BQ=places_Q.expand(len(noised_BQ), -1),
        mask_new_B1QQ=(same_QQ | (earlier_QQ & ~noised_Q)).expand(len(noised_BQ), 1, -1, -1),
    )
    expected_BQV = arrays["logits_train"].to(found_BQV.dtype)
    assert_close(expected_BQV, found_BQV[:, :count], **TOLERANCE[dtype])


def test_bd3_lm_decodes_over_stored_blocks():
    """Two blocks over a stored prefix give what the whole gives."""
    network = loaded("bd3lm", dtype="float64").network
    ids_BQ = recorded("bd3lm")["input_ids_masked"]
    whole_BQV = logits(network, ids_BQ, mask_new_B1QQ=visible(network, ids_BQ))
    head_BQ, tail_BQ = ids_BQ[:, :16], ids_BQ[:, 16:20]
    past = feed(network, head_BQ, mask_new_B1QQ=visible(network, head_BQ)).fresh
    found_BQV = logits(
        network,
        tail_BQ,
        positions_BQ=torch.arange(16, 20)[None],
        past=past,
        mask_past_B1QC=torch.ones(1, 1, 4, 16, dtype=torch.bool),
    )
    assert_close(whole_BQV[:, 16:20], found_BQV)


def test_only_time_conditioned_networks_are_told_the_noise_level(unconditioned):
    """Releases of MDLM are fed level zero; a network trained with the level is given it."""
    assert "noise-level" in loaded("mdlm").network.info.capabilities
    assert "noise-level" not in unconditioned().info.capabilities


def test_time_conditioned_bd3_lm_is_refused(tmp_path):
    """Its blocks have a level each, and no release has that."""
    source = folder("bd3lm")
    config = json.loads((source / "config.json").read_text())
    tensors = load_file(source / "model.safetensors")
    path = write_checkpoint(tmp_path, {**config, "time_conditioning": True}, tensors)
    with pytest.raises(ModelError, match="time_conditioning is true"):
        load_folder(path)


def test_mdlm_states_its_mask_in_a_field_of_its_own(unconditioned):
    """It is called `mask_index`."""
    assert 256 == unconditioned().info.mask_id
