"""Token Recycling writes what greedy decoding does, and remembers what it was told last."""

from __future__ import annotations

import functools

import pytest
import torch

from dlmkit.spec import load_spec
from dlmkit_strategies.trees.shapes import balanced, likely
from tests.models.checkpoints import loaded
from tests.strategies.trees.chains import decoded, greedily, markov

PROMPTS = [[3, 1, 4, 1, 5], [2], [6, 5, 3]]


def recycling(**options):
    changes = [f"pipeline.draft.{name}={value}" for name, value in options.items()]
    return load_spec("token-recycling", ["pipeline.verifier.stop=[]", *changes]).pipeline


@functools.cache
def network():
    return loaded("qwen2_ar", dtype="float32").network


@pytest.mark.parametrize(("candidates", "nodes"), [(1, 3), (3, 12)])
def test_the_text_is_that_of_greedy_decoding(candidates, nodes):
    """In a batch, in fewer passes or as many."""
    plain = load_spec("autoregressive", ["pipeline.stop=[]"]).pipeline
    rows, records, _ = decoded(plain, {"main": network()}, PROMPTS, 16)
    pipeline = recycling(candidates=candidates, nodes=nodes)
    found, passes, _ = decoded(pipeline, {"main": network()}, PROMPTS, 16)
    assert rows == found
    assert len(passes) <= len(records)


def test_a_chain_that_goes_in_circles_is_accepted_whole():
    """Once every token has come up, a pass decides as deep as the tree goes."""
    net = markov(3)
    found, records, _ = decoded(recycling(candidates=1, nodes=4), {"main": net}, [[0]], 60)
    assert greedily(net.table_VV, [0], 60) == found[0]
    decides = [int((each.before_BN != each.after_BN).sum()) for each in records]
    assert [5] * 5 == decides[-6:-1]


def test_a_token_keeps_the_candidates_of_its_last_row():
    """The most probable continuations, best first."""
    net = markov(1)
    pipeline = recycling(candidates=3, nodes=6)
    runs = []
    begin = type(pipeline.draft).begin

    def spied(drafter, setting):
        runs.append(begin(drafter, setting))
        return runs[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pipeline.draft), "begin", spied)
        decoded(pipeline, {"main": net}, [[0]], 20)
    table_VK = runs[0].table_BVK[0]
    known_V = table_VK[:, 0] >= 0
    expected_VK = net.table_VV.topk(3, dim=1).indices
    assert known_V.sum() > 2
    assert torch.equal(expected_VK[known_V], table_VK[known_V])


def test_a_row_decodes_as_it_does_alone():
    """Tables belong to rows."""
    net = markov(5)
    pipeline = recycling(candidates=2, nodes=6)
    together, _, _ = decoded(pipeline, {"main": net}, PROMPTS, 12)
    alone = [decoded(pipeline, {"main": net}, [prompt], 12)[0][0] for prompt in PROMPTS]
    assert alone == together


def test_the_tree_has_nearly_the_published_depths():
    """Eighty nodes: 8, 21, 25, 15, 8 and 3 from the first level on, to within eight nodes."""
    depths = likely(80, 8, 0.65, 0.75).depths
    counted = [depths.count(depth) for depth in range(1, 8)]
    published = [8, 21, 25, 15, 8, 3, 0]
    assert sum(abs(a - b) for a, b in zip(published, counted, strict=True)) <= 8


def test_parents_come_before_their_children():
    """In every shape; a balanced tree has the widths that it was given."""
    for shape in (likely(20, 3, 0.65, 0.75), balanced((2, 3, 1))):
        assert all(parent < node for node, parent in enumerate(shape.parents))
    depths = balanced((2, 3, 1)).depths
    assert [2, 6, 6] == [depths.count(depth) for depth in (1, 2, 3)]
