"""Drafts, scopes and resolvers against loops over rows, nodes and entries."""

from __future__ import annotations

import attrs
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.verdict import Verdict
from dlmkit_strategies.draft_verify import DeepestPath, Prefix, ReplaceFirst

MASK, LENGTH = 9, 6


@st.composite
def forests(draw):
    """A canvas of masks and a forest in which no path writes a position twice."""
    rows, nodes = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    canvas, table = Canvas.create([[1]] * rows, LENGTH, MASK), []
    for _ in range(rows):
        parents = [draw(st.integers(-1, node - 1)) for node in range(nodes)]
        free = {-1: list(range(1, LENGTH + 1))}
        entries = []
        for node, parent in enumerate(parents):
            left = list(free[parent])
            chosen = draw(st.lists(st.sampled_from(left), unique=True, max_size=2)) if left else []
            entries += [(node, place, draw(st.integers(0, 4))) for place in chosen]
            free[node] = [place for place in left if place not in chosen]
        table.append((parents, entries))
    return canvas, draft_of(table, nodes)


def draft_of(table, nodes):
    """Entries of all rows, filled up to the longest."""
    width = max(1, *(len(entries) for _, entries in table))
    padded = [entries + [(0, 0, 0)] * (width - len(entries)) for _, entries in table]
    values_BE3 = torch.tensor(padded, dtype=torch.int64).reshape(len(table), width, 3)
    counts_B1 = torch.tensor([[len(entries)] for _, entries in table])
    return Draft(
        node_BE=values_BE3[..., 0],
        position_BE=values_BE3[..., 1],
        token_BE=values_BE3[..., 2],
        valid_BE=torch.arange(width) < counts_B1,
        parent_BD=torch.tensor([parents for parents, _ in table]).reshape(len(table), nodes),
    )


def entries_of(draft, row):
    """Numbers of a row's entries, without filler."""
    return [e for e, valid in enumerate(draft.valid_BE[row].tolist()) if valid]


def path(draft, row, node):
    """A node and its ancestors."""
    found = []
    while node >= 0:
        found.append(node)
        node = int(draft.parent_BD[row, node])
    return found


def coins(draft, seed):
    """Any verdict."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(draft.valid_BE.shape, generator=generator) < 0.6


@given(forests())
def test_a_state_is_the_canvas_with_the_tokens_of_its_path(drawn):
    """Node by node, entry by entry."""
    canvas, draft = drawn
    states_BXN = draft.states(canvas)
    for row in range(len(states_BXN)):
        assert torch.equal(canvas.tokens_BN[row], states_BXN[row, 0])
        for node in range(draft.nodes):
            expected = canvas.tokens_BN[row].clone()
            for entry in entries_of(draft, row):
                if int(draft.node_BE[row, entry]) in path(draft, row, node):
                    expected[draft.position_BE[row, entry]] = draft.token_BE[row, entry]
            assert torch.equal(expected, states_BXN[row, node + 1])
            assert len(path(draft, row, node)) == draft.depth_BD[row, node]


@given(forests(), st.integers(0, 99))
def test_trimming_changes_no_state(drawn, seed):
    """Filler goes, states stay, whatever else a draft carries follows its entries."""
    canvas, draft = drawn
    generator = torch.Generator().manual_seed(seed)
    draft = attrs.evolve(draft, logp_BE=torch.rand(draft.valid_BE.shape, generator=generator))
    trimmed = draft.trimmed()
    states_BXN, cut_BXN = draft.states(canvas), trimmed.states(canvas)
    assert torch.equal(states_BXN[:, : cut_BXN.shape[1]], cut_BXN)
    assert torch.equal(draft.logp_BE[draft.valid_BE].sort().values,
                       trimmed.logp_BE[trimmed.valid_BE].sort().values)  # fmt: skip
    again = trimmed.trimmed()
    assert trimmed.valid_BE.shape == again.valid_BE.shape


@given(forests(), st.integers(0, 99))
def test_a_prefix_in_reveal_order_keeps_paths_without_a_failure(drawn, seed):
    """A node stands if every entry on its path is ok."""
    _, draft = drawn
    ok_BE = coins(draft, seed)
    passed_BE = Prefix().limit(draft, ok_BE)
    for row in range(len(ok_BE)):
        failed = {int(draft.node_BE[row, e]) for e in entries_of(draft, row) if not ok_BE[row, e]}
        for entry in entries_of(draft, row):
            nodes = path(draft, row, int(draft.node_BE[row, entry]))
            assert (not failed & set(nodes)) == bool(passed_BE[row, entry])


@given(forests(), st.integers(0, 99))
def test_the_deepest_path_is_the_longest_without_a_failure(drawn, seed):
    """Ties go to the first node; other branches do not pass."""
    _, draft = drawn
    ok_BE = coins(draft, seed)
    passed_BE = DeepestPath().limit(draft, ok_BE)
    for row in range(len(ok_BE)):
        numbers = entries_of(draft, row)
        failed = {int(draft.node_BE[row, e]) for e in numbers if not ok_BE[row, e]}
        used = {int(draft.node_BE[row, e]) for e in numbers}
        paths = [path(draft, row, node) for node in sorted(used)]
        best = max((each for each in paths if not failed & set(each)), key=len, default=[])
        expected = {e for e in numbers if int(draft.node_BE[row, e]) in best}
        assert expected == {e for e in numbers if passed_BE[row, e]}


@given(forests(), st.integers(0, 99))
def test_only_the_first_failure_is_replaced(drawn, seed):
    """The leftmost that follows nothing that failed, unless a brother took its place."""
    _, draft = drawn
    ok_BE = coins(draft, seed)
    passed_BE = DeepestPath().limit(draft, ok_BE)
    verdict = Verdict(ok_BE=ok_BE, token_BE=draft.token_BE)
    correct_BE = ReplaceFirst().resolve(draft, passed_BE, verdict).correct_BE
    for row in range(len(ok_BE)):
        numbers = entries_of(draft, row)
        passed = {e for e in numbers if passed_BE[row, e]}
        settled = {int(draft.position_BE[row, e]) for e in passed}
        open_ones = [
            (int(draft.position_BE[row, e]), e)
            for e in numbers
            if e not in passed
            and int(draft.position_BE[row, e]) not in settled
            and all(
                other in passed
                for other in numbers
                if int(draft.node_BE[row, other])
                in path(draft, row, int(draft.node_BE[row, e]))[1:]
            )
        ]
        expected = {min(open_ones)[1]} if open_ones else set()
        assert expected == {e for e in numbers if correct_BE[row, e]}


@given(forests(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_entries_changes_nothing(drawn, seed, random):
    """Invariant 13: where tokens tell brothers apart, what is written is the same."""
    canvas, draft = drawn
    order = list(range(draft.valid_BE.shape[1]))
    random.shuffle(order)
    mixed = attrs.evolve(
        draft,
        position_BE=draft.position_BE[:, order],
        token_BE=draft.token_BE[:, order],
        node_BE=draft.node_BE[:, order],
        valid_BE=draft.valid_BE[:, order],
    )
    ok_BE = coins(draft, seed)
    one_BE, other_BE = (
        DeepestPath().limit(draft, ok_BE), DeepestPath().limit(mixed, ok_BE[:, order])
    )  # fmt: skip
    assert torch.equal(draft.written(canvas, one_BE), mixed.written(canvas, other_BE))
