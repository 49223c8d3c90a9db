"""Logits and hidden states equal those of each family's published modelling code."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.testing import assert_close

from dlmkit.models.arch import AttentionPattern
from dlmkit.passes import attention
from dlmkit.passes.plan import Plan
from tests.engines.calls import feed, logits
from tests.models.checkpoints import BLOCK_CAUSAL, CAUSAL, FOLDERS, loaded, recorded

TOLERANCE = {"float32": {"atol": 1e-4, "rtol": 1e-5}, "float64": {"atol": 7e-5, "rtol": 1e-5}}
INPUTS = ("short", "masked", "long", "batch")


def visible(network, ids_BQ):
    """The mask of the network's attention pattern; None where all see all."""
    return pattern_mask(network.info.attention, ids_BQ)


def pattern_mask(pattern, ids_BQ):
    """The mask of a pattern over consecutive positions; None where all see all."""
    every_BQ = torch.arange(ids_BQ.shape[1]).expand(ids_BQ.shape)
    allowed_BQQ = attention.visible(pattern, every_BQ, every_BQ)
    return None if allowed_BQQ is None else allowed_BQQ[:, None]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("folder", [*FOLDERS, "llada_moe", *BLOCK_CAUSAL, *CAUSAL])
def test_logits_equal_the_reference(folder, dtype):
    """Every recorded input, one row or two, gives the recorded logits."""
    network = loaded(folder, dtype=dtype).network
    arrays = recorded(folder)
    for name in (name for name in INPUTS if f"input_ids_{name}" in arrays):
        ids_BQ = arrays[f"input_ids_{name}"]
        found_BQV = logits(network, ids_BQ, mask_new_B1QQ=visible(network, ids_BQ))
        assert_close(arrays[f"logits_{name}"].to(found_BQV.dtype), found_BQV, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("folder", ["llada", "llada_gqa_tied", "llada_moe"])
def test_llada_padding_is_masked_and_positions_stay(folder, dtype):
    """Left padding is excluded as key; the first real token keeps its position."""
    arrays = recorded(folder)
    real_BQ = arrays["attention_mask_padded"].bool()
    mask_B1QQ = real_BQ[:, None, None, :] | torch.eye(real_BQ.shape[1], dtype=torch.bool)
    found_BQV = logits(
        loaded(folder, dtype=dtype).network, arrays["input_ids_padded"], mask_new_B1QQ=mask_B1QQ
    )
    expected_BQV = arrays["logits_padded"].to(found_BQV.dtype)
    assert_close(expected_BQV[real_BQ], found_BQV[real_BQ], **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("folder", ["dream", "qwen2_ar", "qwen3_ar", "qwen3_moe_ar", "llama_ar"])
def test_qwen_padding_shifts_positions(folder, dtype):
    """Pads are neither key nor query, and positions count real tokens only."""
    arrays = recorded(folder)
    network = loaded(folder, dtype=dtype).network
    real_BQ = arrays["attention_mask_padded"].bool()
    mask_B1QQ = real_BQ[:, None, None, :] & real_BQ[:, None, :, None]
    if (pattern_B1QQ := visible(network, real_BQ)) is not None:
        mask_B1QQ = mask_B1QQ & pattern_B1QQ
    mask_B1QQ = mask_B1QQ | torch.eye(real_BQ.shape[1], dtype=torch.bool)
    found_BQV = logits(
        network,
        arrays["input_ids_padded"],
        positions_BQ=arrays["position_ids_padded"],
        mask_new_B1QQ=mask_B1QQ,
    )
    expected_BQV = arrays["logits_padded"].to(found_BQV.dtype)
    assert_close(expected_BQV[real_BQ], found_BQV[real_BQ], **TOLERANCE[dtype])


@pytest.mark.parametrize("folder", FOLDERS)
def test_hidden_states_equal_the_reference(folder):
    """Embeddings, the first layer and the normalised end are those of the reference."""
    arrays = recorded(folder)
    decoder = loaded(folder, dtype="float32").network.decoder
    ids_BQ = arrays["input_ids_short"]
    positions_BQ = torch.arange(ids_BQ.shape[1])[None]
    seen = []
    decoder.model.layers[0].register_forward_hook(lambda *call: seen.append(call[2][0]))
    with torch.inference_mode():
        last_BQD, _, _ = decoder(ids_BQ, positions_BQ)
        states = torch.stack(
            (decoder.model.embed_tokens(ids_BQ), seen[0], decoder.model.norm(last_BQD))
        )
    assert_close(arrays["hidden_short"], states, **TOLERANCE["float32"])


@pytest.mark.parametrize(("folder", "block"), [("sdar", 8), ("fast_dllm_v2", 4)])
def test_the_attention_block_is_a_choice(folder, block):
    """The same weights under another block give the logits recorded for it."""
    arrays = recorded(folder)
    ids_BQ = arrays["input_ids_masked"]
    mask_B1QQ = pattern_mask(AttentionPattern(kind="block-causal", block=block), ids_BQ)
    found_BQV = logits(loaded(folder, dtype="float32").network, ids_BQ, mask_new_B1QQ=mask_B1QQ)
    assert_close(arrays[f"logits_masked_block{block}"], found_BQV, **TOLERANCE["float32"])


@pytest.mark.parametrize("folder", ["sdar", "fast_dllm_v2"])
def test_a_block_over_its_cached_prefix_equals_the_reference(folder):
    """Complete blocks are stored; the next one sees all of them and itself."""
    arrays = recorded(folder)
    network = loaded(folder, dtype="float32").network
    ids_BQ, prefix = arrays["cache_input_ids"], int(arrays["cache_prefix_len"])
    block = arrays["cache_logits_block"].shape[1]
    head_BQ, tail_BQ = ids_BQ[:, :prefix], ids_BQ[:, prefix : prefix + block]
    past = feed(network, head_BQ, mask_new_B1QQ=visible(network, head_BQ)).fresh
    found_BQV = logits(
        network,
        tail_BQ,
        positions_BQ=torch.arange(prefix, prefix + block)[None],
        past=past,
        mask_past_B1QC=torch.ones(1, 1, block, prefix, dtype=torch.bool),
    )
    assert_close(arrays["cache_logits_block"], found_BQV, **TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_wedlm_moves_masks_last_and_keeps_their_positions(dtype):
    """Attention is causal in the order of feeding, whatever the positions."""
    arrays = recorded("wedlm")
    ids_BQ = arrays["input_ids_reordered"]
    found_BQV = logits(
        loaded("wedlm", dtype=dtype).network,
        ids_BQ,
        positions_BQ=arrays["position_ids_reordered"],
        mask_new_B1QQ=pattern_mask(AttentionPattern(kind="causal"), ids_BQ),
    )
    assert_close(arrays["logits_reordered"].to(found_BQV.dtype), found_BQV, **TOLERANCE[dtype])


def test_wedlm_needs_no_reordering():
    """In the order of positions, the pattern's mask gives what moving masks last gives."""
    arrays, network = recorded("wedlm"), loaded("wedlm", dtype="float32").network
    order_Q = arrays["position_ids_reordered"][0].argsort()
    ids_BQ = arrays["input_ids_reordered"][:, order_Q]
    masked_BQ = ids_BQ == network.info.mask_id
    assert masked_BQ.any()
    inside_BQ = torch.ones_like(masked_BQ)
    _, mask_B1QQ = attention.masks(
        network.info.attention, Plan.full(ids_BQ), inside_BQ, ragged=False, masked_BN=masked_BQ
    )
    found_BQV = logits(network, ids_BQ, mask_new_B1QQ=mask_B1QQ)
    assert_close(arrays["logits_reordered"][:, order_Q], found_BQV, **TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["bidir", "causal"])
def test_nemotron_has_two_modes_in_one_set_of_weights(kind, dtype):
    """Both modes beyond the original length, where YaRN and the query scale count."""
    arrays = recorded("nemotron_labs_diffusion")
    network = loaded("nemotron_labs_diffusion", dtype=dtype).network
    pattern = AttentionPattern(kind="full" if kind == "bidir" else "causal")
    for name in (each for each in INPUTS if f"logits_{each}_{kind}" in arrays):
        ids_BQ = arrays[f"input_ids_{name}"]
        found_BQV = logits(network, ids_BQ, mask_new_B1QQ=pattern_mask(pattern, ids_BQ))
        expected_BQV = arrays[f"logits_{name}_{kind}"].to(found_BQV.dtype)
        assert_close(expected_BQV, found_BQV, **TOLERANCE[dtype])


def test_nemotron_decodes_a_free_block_after_a_causal_prefix():
    """The plan's prefix makes the mask: causal before it, everything after it."""
    arrays = recorded("nemotron_labs_diffusion")
    network = loaded("nemotron_labs_diffusion", dtype="float32").network
    ids_BQ, prefix = arrays["hybrid_input_ids"], arrays["hybrid_prefix_len"]
    plan = attrs.evolve(Plan.full(ids_BQ), prefix_B=prefix[None])
    _, mask_B1QQ = attention.masks(
        network.info.attention, plan, torch.ones_like(ids_BQ, dtype=torch.bool), ragged=False
    )
    found_BQV = logits(network, ids_BQ, mask_new_B1QQ=mask_B1QQ)[:, int(prefix) :]
    assert_close(arrays["hybrid_logits_block"], found_BQV, **TOLERANCE["float32"])
