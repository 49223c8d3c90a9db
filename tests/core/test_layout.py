"""A new layout moves every row as editing its list of tokens would."""

from __future__ import annotations

import attrs
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.component import StateField
from dlmkit.key_values.store import Store
from dlmkit.layout import Layout
from dlmkit.loop.memory import Memory
from dlmkit.network import KeyValues
from dlmkit.roles import StopRule
from dlmkit.testing.conformance.scenes import toy_info
from dlmkit.testing.generators import canvases, resizes

MASK = 9


def edited(row, insert, delete, fill):
    """One row, edited as a list."""
    new = []
    for value, masks, gone in zip(row, insert, delete, strict=True):
        new += [] if gone else [value]
        new += [fill] * masks
    return new


def rows_of(values_BN, lengths):
    return [row[:end] for row, end in zip(values_BN.tolist(), lengths, strict=True)]


@given(st.data())
def test_rows_become_what_editing_lists_gives(data):
    """Tokens, marks and commit steps; what is behind a row's end is padding."""
    canvas = data.draw(canvases())
    resize = data.draw(resizes(canvas))
    before, lengths = canvas.snapshot(), canvas.length_B.tolist()
    layout = Layout.of(canvas, resize.insert_BN, resize.delete_BN)
    changed = bool((resize.insert_BN > 0).any() or resize.delete_BN.any())
    assert changed == (layout is not None)
    if layout is None:
        return
    canvas.follow(layout)
    edits = rows_of(resize.insert_BN, lengths), rows_of(resize.delete_BN, lengths)
    for name, fill in (("tokens_BN", canvas.mask_id), ("given_BN", False), ("commit_step_BN", -1)):
        old = rows_of(getattr(before, name), lengths)
        expected = [edited(*row, fill) for row in zip(old, *edits, strict=True)]
        assert expected == rows_of(getattr(canvas, name), canvas.length_B.tolist())
    assert max(canvas.length_B.tolist()) == canvas.tokens_BN.shape[1] == len(canvas.columns_N)
    assert (canvas.region_width, canvas.ragged) == (
        int((canvas.length_B - canvas.start_B).max()),
        len(set(canvas.length_B.tolist())) > 1,
    )
    outside_BN = ~canvas.inside_BN
    assert bool((canvas.given_BN | ~outside_BN).all())
    assert not bool((canvas.masked_BN & outside_BN).any())
    decided_B = before.initial_masks_B - before.masked_BN.sum(dim=1)
    lost_B = (resize.delete_BN & ~before.masked_BN).sum(dim=1)
    assert torch.equal(decided_B - lost_B, canvas.initial_masks_B - canvas.masked_BN.sum(dim=1))


def grown():
    """A canvas of two rows, and a layout that gives the first a mask and cuts the second."""
    canvas = Canvas.create([[1, 2], [3]], 2, MASK)
    insert_BN = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0]])
    delete_BN = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1]], dtype=torch.bool)
    layout = Layout.of(canvas, insert_BN, delete_BN)
    assert layout is not None
    return canvas, layout


def test_a_row_that_is_cut_leaves_the_others_alone():
    """Positions of different rows move independently."""
    canvas, layout = grown()
    canvas.follow(layout)
    assert [[1, 2, 9, 9, 9], [3, 9, 0, 0, 0]] == canvas.tokens_BN.tolist()
    assert [[0, 1, -1, 2, 3], [0, 1, -1, -1, -1]] == layout.origin_BM.tolist()


def test_new_positions_can_be_decided():
    """Nothing of the old layout decides what may change in the new one."""
    canvas, layout = grown()
    columns = canvas.tokens_BN.shape
    everything = torch.arange(columns[1]).expand(columns)
    canvas.commit(everything, torch.zeros(columns, dtype=torch.bool), everything, 0)
    canvas.follow(layout)
    canvas.commit(
        torch.tensor([[4], [1]]), torch.tensor([[True], [True]]), torch.tensor([[5], [6]]), 1
    )
    assert [[1, 2, 9, 9, 5], [3, 6, 0, 0, 0]] == canvas.tokens_BN.tolist()


def test_rows_can_be_chosen_from_canvases_of_different_widths():
    """Each with its own length; what lies behind a row's end is padding again."""
    canvas, layout = grown()
    before = canvas.snapshot()
    canvas.follow(layout)
    chosen = Canvas.chosen((before, canvas), torch.tensor([0, 1]))
    assert [[1, 2, 9, 9], [3, 9, 0, 0]] == chosen.tokens_BN.tolist()
    assert ([4, 2], True, 2) == (chosen.length_B.tolist(), chosen.ragged, chosen.region_width)
    other = Canvas.chosen((before, canvas), torch.tensor([1, 0]))
    assert [[1, 2, 9, 9, 9], [3, 9, 9, 0, 0]] == other.tokens_BN.tolist()
    assert [[1, 1, 0, 0, 0], [1, 0, 0, 1, 1]] == other.given_BN.int().tolist()


@attrs.frozen
class Remembering(StopRule):
    """Keeps a number for each position, each token there, and each row."""

    name = "remembering"
    state = (
        StateField("place", "int64", -7),
        StateField("odds", "float32", 0.5, "BNV"),
        StateField("row", "int64", 3, "B"),
    )

    def stop(self, view):
        """Never asked."""
        raise NotImplementedError


def test_memory_moves_with_its_positions():
    """New positions start with the declared value; what belongs to rows stays."""
    canvas, layout = grown()
    rule = Remembering()
    memory = Memory(rule, canvas, 2)
    values = memory.values[id(rule)]
    values["place"].copy_(torch.arange(8).view(2, 4))
    values["odds"].copy_(torch.arange(16).view(2, 4, 2))
    memory.follow(layout)
    values = memory.values[id(rule)]
    assert [[0, 1, -7, 2, 3], [4, 5, -7, -7, -7]] == values["place"].tolist()
    assert [[0, 1], [2, 3], [0.5, 0.5], [4, 5], [6, 7]] == values["odds"][0].tolist()
    assert [3, 3] == values["row"].tolist()


def test_the_store_forgets_what_has_moved():
    """A key knows its position, so only what stayed in place can be read again."""
    canvas, layout = grown()
    info = attrs.evolve(toy_info(), layers=1, kv_heads=1, head_dim=2)
    store = Store.allocate(info, *canvas.tokens_BN.shape)
    feed_BQ = torch.arange(4).expand(2, 4)
    fresh = torch.rand(1, 2, 1, 4, 2, dtype=info.dtype)
    keep_BQ = torch.ones(2, 4, dtype=torch.bool)
    store.commit(
        KeyValues(keys_YBGCE=fresh, values_YBGCE=fresh), feed_BQ, keep_BQ, canvas.tokens_BN
    )
    store.follow(layout)
    assert [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0]] == store.filled_BN.int().tolist()
    assert (1, 2, 1, 5, 2) == store.content.keys_YBGCE.shape
    assert torch.equal(fresh[:, :, :, :2], store.content.keys_YBGCE[:, :, :, :2])
