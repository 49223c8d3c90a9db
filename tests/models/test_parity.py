"""Logits and hidden states equal those of each family's published modelling code."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests.engines.calls import logits
from tests.models.checkpoints import FOLDERS, loaded, recorded

TOLERANCE = {"float32": {"atol": 1e-4, "rtol": 1e-5}, "float64": {"atol": 7e-5, "rtol": 1e-5}}
INPUTS = ("short", "masked", "long", "batch")


def visible(network, ids_BQ):
    """The mask of the network's attention pattern; None where all see all."""
    rows, count = ids_BQ.shape
    causal = torch.ones(count, count, dtype=torch.bool).tril().expand(rows, 1, -1, -1)
    return None if network.info.attention.kind == "full" else causal


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("folder", [*FOLDERS, "qwen2_ar", "qwen2_ar_tied"])
def test_logits_equal_the_reference(folder, dtype):
    """Every recorded input, one row or two, gives the recorded logits."""
    network = loaded(folder, dtype=dtype).network
    arrays = recorded(folder)
    for name in (name for name in INPUTS if f"input_ids_{name}" in arrays):
        ids_BQ = arrays[f"input_ids_{name}"]
        found_BQV = logits(network, ids_BQ, mask_new_B1QQ=visible(network, ids_BQ))
        assert_close(arrays[f"logits_{name}"].to(found_BQV.dtype), found_BQV, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("folder", ["llada", "llada_gqa_tied"])
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
@pytest.mark.parametrize("folder", ["dream", "qwen2_ar"])
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
