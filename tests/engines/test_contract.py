"""The network contract, on every engine: positions, masks and cached keys mean what they say.

PyTorch is held to it in float64, compiled graphs in their float32.

Legend: B rows, Q fed positions, C cache slots, V vocabulary.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dlmkit.network import KeyValues
from tests.engines.calls import feed, logits
from tests.export import compiled
from tests.models.checkpoints import FOLDERS, loaded, recorded

EXACT = {"atol": 1e-9, "rtol": 1e-9}
ROUNDED = {"atol": 3e-4, "rtol": 1e-4}
BLOCK = 8
COMPILED = ("llada_gqa_tied", "dream")
CASES = [*(("torch", name) for name in FOLDERS), *(("onnxruntime", name) for name in COMPILED)]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request):
    """A network, two rows of ids, and how close equal is."""
    engine, name = request.param
    ids_BQ = recorded(name)["input_ids_batch"]
    if engine == "onnxruntime":
        return compiled.network(name), ids_BQ, ROUNDED
    return loaded(name, dtype="float64").network, ids_BQ, EXACT


def block_causal(count):
    """`mask_1QQ` true where the key's block is not later than the query's."""
    block_Q = torch.arange(count) // BLOCK
    return (block_Q[:, None] >= block_Q[None, :])[None, None]


def test_prefix_then_rest_equals_the_full_pass(case):
    """Under a block-causal mask, cached keys and values of finished blocks are exact."""
    network, ids_BQ, close = case
    rows, count = ids_BQ.shape
    cut = 2 * BLOCK
    mask_BQQ = block_causal(count).expand(rows, 1, -1, -1)
    whole_BQV = logits(network, ids_BQ, mask_new_B1QQ=mask_BQQ)
    head = feed(network, ids_BQ[:, :cut], mask_new_B1QQ=mask_BQQ[:, :, :cut, :cut])
    rest_BQV = logits(
        network,
        ids_BQ[:, cut:],
        positions_BQ=torch.arange(cut, count).expand(rows, -1),
        mask_new_B1QQ=mask_BQQ[:, :, cut:, cut:],
        past=head.fresh,
        mask_past_B1QC=mask_BQQ[:, :, cut:, :cut],
    )
    assert_close(whole_BQV[:, :cut], head.logits_BSV, **close)
    assert_close(whole_BQV[:, cut:], rest_BQV, **close)


def test_a_visible_cache_needs_no_fresh_mask(case):
    """Leaving out the fresh part means that fed positions all see each other."""
    network, ids_BQ, close = case
    past = feed(network, ids_BQ[:, :5]).fresh
    count = ids_BQ.shape[1] - 5
    given = {"past": past, "positions_BQ": torch.arange(5, 5 + count).expand(2, -1)}
    given["mask_past_B1QC"] = torch.ones(2, 1, count, 5, dtype=torch.bool)
    ones_B1QQ = torch.ones(2, 1, count, count, dtype=torch.bool)
    left_out = logits(network, ids_BQ[:, 5:], **given)
    assert_close(
        logits(network, ids_BQ[:, 5:], mask_new_B1QQ=ones_B1QQ, **given), left_out, **close
    )


def test_permuting_the_feed_permutes_the_outputs(case):
    """Order carries no meaning; positions do, per row."""
    network, ids_BQ, close = case
    order_BQ = torch.stack([torch.randperm(ids_BQ.shape[1]) for _ in ids_BQ])
    straight = feed(network, ids_BQ)
    mixed = feed(network, ids_BQ.gather(1, order_BQ), positions_BQ=order_BQ)
    index_BQV = order_BQ[..., None].expand_as(straight.logits_BSV)
    assert_close(straight.logits_BSV.gather(1, index_BQV), mixed.logits_BSV, **close)
    for row, order_Q in enumerate(order_BQ):
        keys = straight.fresh.keys_YBGCE[:, row][:, :, order_Q]
        assert_close(keys, mixed.fresh.keys_YBGCE[:, row], **close)


def test_invisible_slots_change_nothing_whatever_they_hold(case):
    """Slots with absurd values, masked out, leave every logit as it was."""
    network, ids_BQ, close = case
    past = feed(network, ids_BQ[:, :6]).fresh
    rest_BQ = ids_BQ[:, 6:]
    positions_BQ = torch.arange(6, ids_BQ.shape[1]).expand(2, -1)
    visible_B1QC = torch.ones(2, 1, rest_BQ.shape[1], 6, dtype=torch.bool)
    clean = logits(
        network, rest_BQ, positions_BQ=positions_BQ, past=past, mask_past_B1QC=visible_B1QC
    )
    poison = torch.full_like(past.keys_YBGCE[:, :, :, :3], 1e4)
    wide = KeyValues(
        keys_YBGCE=torch.cat((poison, past.keys_YBGCE), dim=3),
        values_YBGCE=torch.cat((poison, past.values_YBGCE), dim=3),
    )
    mask_B1QC = torch.cat((torch.zeros_like(visible_B1QC[..., :3]), visible_B1QC), dim=-1)
    found = logits(network, rest_BQ, positions_BQ=positions_BQ, past=wide, mask_past_B1QC=mask_B1QC)
    assert_close(clean, found, **close)


def test_dummy_queries_change_nothing(case):
    """Padding queries that see only themselves leave the real rows as they were."""
    network, ids_BQ, close = case
    rows, count = ids_BQ.shape
    padded_BQ = torch.cat((ids_BQ, torch.zeros(rows, 4, dtype=torch.int64)), dim=1)
    mask_B1QQ = torch.eye(count + 4, dtype=torch.bool).repeat(rows, 1, 1, 1)
    mask_B1QQ[..., :count, :count] = True
    every_BQ = torch.arange(count).expand(rows, -1)
    found = logits(network, padded_BQ, mask_new_B1QQ=mask_B1QQ, want_BS=every_BQ)
    assert_close(logits(network, ids_BQ), found, **close)


def test_rows_are_independent(case):
    """A row alone gives what it gives in a batch."""
    network, ids_BQ, close = case
    both = logits(network, ids_BQ)
    for row in range(2):
        assert_close(both[row : row + 1], logits(network, ids_BQ[row : row + 1]), **close)


def test_only_wanted_rows_come_back_in_the_wanted_order(case):
    """Different rows may want different positions, repeated or out of order."""
    network, ids_BQ, close = case
    want_BS = torch.tensor([[7, 0, 7], [3, 2, 1]])
    whole = logits(network, ids_BQ)
    index_BSV = want_BS[..., None].expand(-1, -1, whole.shape[-1])
    assert_close(whole.gather(1, index_BSV), logits(network, ids_BQ, want_BS=want_BS), **close)


def test_the_call_keeps_no_state(case):
    """Twice the same question, twice the same answer, bit for bit."""
    network, ids_BQ, _ = case
    assert torch.equal(logits(network, ids_BQ), logits(network, ids_BQ))


def test_fresh_keys_have_the_documented_shape(case):
    """Layers, rows, key/value heads, positions, head dimension; in the network's dtype."""
    network, ids_BQ, _ = case
    info = network.info
    expected = (info.layers, 2, info.kv_heads, ids_BQ.shape[1], info.head_dim)
    keys = feed(network, ids_BQ).fresh.keys_YBGCE
    assert expected == tuple(keys.shape)
    assert info.dtype == keys.dtype
