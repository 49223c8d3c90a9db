"""Invariant 13: how the nodes of a tree are numbered means nothing to a greedy judge."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit.draft_verify.round import Round
from dlmkit.draft_verify.stepper import Stepper
from dlmkit.draft_verify.verifier import Verifier
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.passes.session import Session
from dlmkit_strategies.draft_verify import DeepestPath, EveryState, Fixed, Greedy, ReplaceFirst
from tests.draft_verify.pieces import alone, networks

TOKENS, LONG = 20, 4


@st.composite
def trees(draw):
    """Parents and tokens of nodes, brothers with distinct tokens, and another order of them."""
    count = draw(st.integers(2, 7))
    parents = [draw(st.integers(ROOT, node - 1)) for node in range(count)]
    depths = []
    for parent in parents:
        depths.append(1 if parent == ROOT else depths[parent] + 1)
    parents = [
        parent if depth <= LONG else ROOT for parent, depth in zip(parents, depths, strict=True)
    ]
    tokens: list[int] = []
    for node, parent in enumerate(parents):
        taken = {tokens[other] for other in range(node) if parents[other] == parent}
        free = [token for token in range(TOKENS) if token not in taken]
        tokens.append(draw(st.sampled_from(free)))
    order: list[int] = []
    while len(order) < count:
        ready = [node for node in range(count) if node not in order]
        ready = [node for node in ready if parents[node] == ROOT or parents[node] in order]
        order.append(draw(st.sampled_from(ready)))
    return parents, tokens, order


def looked_at(parents, tokens, network, canvas):
    """The tree as a draft, and what the verifier says of it."""
    depths: list[int] = []
    for parent in parents:
        depths.append(0 if parent == ROOT else depths[parent] + 1)
    node_BE = torch.arange(len(tokens))[None]
    draft = Draft(
        position_BE=canvas.start_B[:, None] + torch.tensor([depths]),
        token_BE=torch.tensor([tokens]),
        node_BE=node_BE,
        valid_BE=node_BE >= 0,
        parent_BD=torch.tensor([parents]),
    )
    start = Round(
        number=0,
        canvas=canvas.snapshot(),
        noise=Noise(0, canvas.samples_B, 0),
        budget_B=torch.full_like(canvas.start_B, len(tokens)),
        schedule=Fixed(),
    )
    stepper = Stepper(alone(length=1), Session(network), 0, Need(top=TOKENS))
    look = EveryState().look(draft, start)
    return draft, Verifier.begin(stepper, canvas).examine(draft, look, canvas), start


def written(parents, tokens, network, canvas):
    """The canvas after a round with that tree."""
    draft, evidence, start = looked_at(parents, tokens, network, canvas)
    verdict = Greedy().judge(draft, evidence, start)
    found = ReplaceFirst().resolve(draft, DeepestPath().limit(draft, verdict.ok_BE), verdict)
    tokens_BE = torch.where(found.keep_BE, draft.token_BE, verdict.token_BE)
    return draft.written(canvas, found.keep_BE | found.correct_BE, tokens_BE).tolist()


def led(parents, tokens, network, canvas):
    """The tree with the verifier's own tokens on one path, so that part of it stands."""
    for _ in range(LONG):
        _, evidence, _ = looked_at(parents, tokens, network, canvas)
        choice = evidence.choice_BE[0].tolist()
        for node, parent in enumerate(parents):
            brothers = [tokens[other] for other, each in enumerate(parents) if each == parent]
            if parents.index(parent) == node and choice[node] not in brothers:
                tokens = [*tokens[:node], choice[node], *tokens[node + 1 :]]
    return tokens


@settings(max_examples=12)
@given(trees(), st.integers(0, 9))
def test_the_order_of_nodes_decides_nothing(tree, seed):
    """The same tokens stand, and the same one corrects."""
    parents, tokens, order = tree
    network = networks(seed)["verifier"]
    canvas = Canvas.create([[3, 1, 4]], LONG + 1, network.info.mask_id)
    tokens = led(parents, tokens, network, canvas)
    place = {node: number for number, node in enumerate(order)}
    moved = [ROOT if parents[node] == ROOT else place[parents[node]] for node in order]
    expected = written(parents, tokens, network, canvas)
    assert expected == written(moved, [tokens[node] for node in order], network, canvas)
    assert expected != canvas.tokens_BN.tolist()
