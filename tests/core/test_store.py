"""The store writes what is kept, where it belongs, and nothing else."""

from __future__ import annotations

import torch

from dlmkit.key_values.store import Store
from dlmkit.network import KeyValues
from dlmkit.testing.toy import toy_network

INFO = toy_network().info


def fresh(fed):
    shape = (INFO.layers, 2, INFO.kv_heads, fed, INFO.head_dim)
    numbers = torch.arange(1, fed + 1, dtype=torch.float64)[:, None].expand(shape)
    return KeyValues(keys_YBGCE=numbers, values_YBGCE=-numbers)


def first_of(tensor):
    """The first number of each slot, by row."""
    return tensor[0, :, 0, :, 0].tolist()


def test_kept_positions_land_in_their_slots():
    """In any order; the rest of what was computed is forgotten."""
    store = Store.allocate(INFO, 2, 5)
    feed_BQ = torch.tensor([[4, 0, 2], [1, 3, 0]])
    keep_BQ = torch.tensor([[True, True, False], [False, True, True]])
    store.commit(fresh(3), feed_BQ, keep_BQ, torch.tensor([[7, 8, 9], [4, 5, 6]]))
    assert [[8, -1, -1, -1, 7], [6, -1, -1, 5, -1]] == store.tag_BN.tolist()
    assert [[2, 0, 0, 0, 1], [3, 0, 0, 2, 0]] == first_of(store.content.keys_YBGCE)
    assert [[-2, 0, 0, 0, -1], [-3, 0, 0, -2, 0]] == first_of(store.content.values_YBGCE)


def test_replacing_everything_is_keeping_everything():
    """In whole runs of memory instead of slot by slot."""
    feed_BQ, ids_BQ = torch.arange(3).expand(2, 3), torch.tensor([[7, 8, 9], [4, 5, 6]])
    replaced, kept = (Store.allocate(INFO, 2, 3) for _ in range(2))
    replaced.replace(fresh(3), ids_BQ)
    kept.commit(fresh(3), feed_BQ, torch.ones_like(feed_BQ, dtype=torch.bool), ids_BQ)
    assert kept.tag_BN.tolist() == replaced.tag_BN.tolist()
    assert first_of(kept.room.keys_YBGCE) == first_of(replaced.room.keys_YBGCE)
    assert first_of(kept.room.values_YBGCE) == first_of(replaced.room.values_YBGCE)
    assert (kept.changes, kept.begun) == (replaced.changes, replaced.begun)


def test_a_second_commit_replaces_its_slots_only():
    """What was stored elsewhere stays."""
    store = Store.allocate(INFO, 2, 3)
    feed_BQ = torch.tensor([[0, 1], [0, 1]])
    keep_BQ = torch.ones_like(feed_BQ, dtype=torch.bool)
    store.commit(fresh(2), feed_BQ, keep_BQ, feed_BQ + 10)
    store.commit(fresh(2), feed_BQ + 1, keep_BQ & (feed_BQ == 0), feed_BQ + 20)
    assert [[10, 20, -1]] * 2 == store.tag_BN.tolist()
    assert [[1, 1, 0]] * 2 == first_of(store.content.keys_YBGCE)


def test_a_snapshot_does_not_follow_later_commits():
    """And stays usable after a rollback."""
    store = Store.allocate(INFO, 2, 2)
    saved = store.snapshot()
    feed_BQ = torch.tensor([[0, 1], [0, 1]])
    for _ in range(2):
        store.commit(fresh(2), feed_BQ, torch.ones_like(feed_BQ, dtype=torch.bool), feed_BQ)
        assert store.filled_BN.all()
        store.rollback(saved)
        assert not store.filled_BN.any()
        assert [[0, 0]] * 2 == first_of(store.content.keys_YBGCE)


def test_rows_can_go_on_from_other_rows():
    """Each holds what the other held: keys, values and tokens."""
    store = Store.allocate(INFO, 2, 3)
    keep_BQ = torch.ones(2, 1, dtype=torch.bool)
    store.commit(fresh(1), torch.tensor([[0], [2]]), keep_BQ, torch.tensor([[7], [8]]))
    store.reorder(torch.tensor([1, 1]))
    assert [[-1, -1, 8]] * 2 == store.tag_BN.tolist()
    assert [[0, 0, 1]] * 2 == first_of(store.content.keys_YBGCE)
    assert [[0, 0, -1]] * 2 == first_of(store.content.values_YBGCE)
