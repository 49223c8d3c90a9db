"""Networks that write into their cache decode what those decode that only read it."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.testing import assert_close

from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.host.kept import Kept
from dlmkit.key_values.in_place import WritingNetwork, places_BQ, refuse_strangers
from dlmkit.key_values.store import Store
from dlmkit.layout import Layout
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import BlockCausal, SubBlock
from tests.strategies.cache.decodes import CAUSAL, POLICIES, PROMPTS, decode

SLOTS = 26
LOSING = ("vicinity",)
"""Where rows differ, filler of the one is written over what the other reads later."""
READ_INSIDE = ("sparse", "d2cache")
CASES = {
    name: (cache, None)
    for name, cache in POLICIES.items()
    if not name.startswith((*LOSING, *READ_INSIDE))
} | {"block-causal": (BlockCausal(), CAUSAL), "sub-block": (SubBlock(), CAUSAL)}


def writing(attention=None):
    return WritingNetwork(toy_network(attention=attention), SLOTS)


@pytest.mark.parametrize(("cache", "attention"), CASES.values(), ids=CASES.keys())
def test_writing_into_the_cache_changes_no_token(cache, attention):
    """Three rows of different length, at the same cost; slots beyond the canvas hold poison."""
    expected, reading = decode(cache, PROMPTS, network=toy_network(attention=attention))
    found, session = decode(cache, PROMPTS, network=writing(attention), poison=True)
    assert expected == found
    assert reading.counts == session.counts


def test_a_plan_that_reads_what_was_written_over_is_refused():
    """Not decoded with other keys than the policy meant."""
    for checked in (True, False):
        assert Session(writing(), checked=checked).checked == checked
    assert Session(writing()).checked
    with pytest.raises(EngineError, match="has written over positions") as caught:
        decode(POLICIES["vicinity"], PROMPTS, network=writing())
    assert "only reads its cache" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"shadow_BH": torch.zeros(1, 1, dtype=torch.int64)}, "shadows"),
        ({"layers_BNY": torch.zeros(1, 4, 2, dtype=torch.bool)}, "layers that read different"),
        ({}, "several inputs over one cache"),
    ],
)
def test_keys_that_belong_in_no_slot_are_refused(change, what):
    """Guidance has slots of its own only if its first pass ran it."""
    network = writing()
    store = Store.allocate(network.info, 1, 4)
    plan = attrs.evolve(Plan.full(torch.zeros(1, 4, dtype=torch.int64)), **change)
    rows = 1 if change else 2
    with pytest.raises(EngineError, match=what):
        refuse_strangers(network.info, plan, rows, store)


def test_filler_is_written_after_what_its_row_computes():
    """Rows that compute nothing write from the start."""
    compute_BN = torch.tensor([[False, True, True, True, False], [False] * 3 + [True, False]])
    plan = attrs.evolve(Plan.of(compute_BN, width=3)).trimmed(compute_BN.shape[1])
    assert [[1, 2, 3], [3, 4, 5]] == places_BQ(plan, Kept()).tolist()
    nothing = Plan.of(torch.zeros(1, 3, dtype=torch.bool), width=2).trimmed(3)
    assert [[0, 1]] == places_BQ(nothing, Kept()).tolist()


def test_the_store_forgets_what_was_written_and_not_kept():
    """Also where filler was written, and not beyond its end."""
    store = Store.allocate(writing().info, 1, 5)
    every = torch.ones(1, 5, dtype=torch.bool)
    store.written(torch.arange(5)[None], every, torch.arange(10, 15)[None])
    keep_BQ = torch.tensor([[True, False, False]])
    store.written(torch.tensor([[3, 4, 5]]), keep_BQ, torch.tensor([[7, 8, 9]]))
    assert [[10, 11, 12, 7, -1]] == store.tag_BN.tolist()
    store.lost(torch.tensor([[0, 1]]))
    assert [[-1, -1, 12, 7, -1]] == store.tag_BN.tolist()


def test_a_store_for_writing_has_the_network_s_size():
    """Whatever the canvas; in snapshots and after the canvas has changed too."""
    store = Store.allocate(writing().info, 1, 5)
    canvas = Canvas.create([[1, 2]], 3, 0)
    nothing_BN = torch.zeros(1, 5, dtype=torch.int64)
    longer = Layout.of(canvas, nothing_BN + 1, nothing_BN.bool())
    store.follow(longer)
    assert (1, 10) == tuple(store.tag_BN.shape)
    for each in (store, store.snapshot()):
        assert SLOTS == each.content.keys_YBGCE.shape[3]
        assert each.content is each.room
    assert SLOTS + 1 == Store.allocate(writing().info, 1, SLOTS + 1).content.keys_YBGCE.shape[3]


def test_a_writing_network_returns_no_copy_of_what_it_wrote():
    """The room of the store is all there is."""
    network = writing()
    session = Session(network)
    canvas = Canvas.create([[1, 2, 3]], 2, network.info.mask_id)
    plan = Plan.full(canvas.tokens_BN, commit=True)
    places = torch.arange(5)[None]
    session.predict([canvas.tokens_BN], canvas, places, plan, Need())
    assert canvas.tokens_BN.tolist() == session.store.tag_BN.tolist()
    reading = Session(network.inner)
    reading.predict([canvas.tokens_BN], canvas, places, plan, Need())
    for name in ("keys_YBGCE", "values_YBGCE"):
        found, expected = (getattr(each.store.content, name) for each in (session, reading))
        assert_close(expected, found[:, :, :, :5])
        assert not found[:, :, :, 5:].any()
