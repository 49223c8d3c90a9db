"""Stochastic beams draw texts without replacement."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.noise import Noise
from dlmkit_strategies.trees.stochastic_beams import below
from tests.strategies.trees.chains import beams, decoded, markov

SAMPLES = 4000


def drafts(width, depth, network, prompt):
    """What is drafted in the first round after a prompt, as written paths, best first."""
    pipeline, found = beams(width, depth), []
    begin = type(pipeline.draft).begin

    def spied(drafter, setting):
        run = begin(drafter, setting)
        draft = run.draft

        def kept(start):
            found.append((yield from draft(start)))
            return found[-1]

        run.draft = kept
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pipeline.draft), "begin", spied)
        decoded(pipeline, {"main": network, "drafter": network}, [prompt], depth)
    return found[0]


def paths(draft):
    """The texts of every depth, in the order in which they are kept."""
    texts = {}
    for node, (parent, token) in enumerate(
        zip(draft.parent_BD[0].tolist(), draft.token_BE[0].tolist(), strict=True)
    ):
        texts[node] = (*texts.get(parent, ()), token)
    return [[text for text in texts.values() if len(text) == length] for length in (1, 2, 3)]


def searched(table_VV, prompt, width, depth, seed=0):
    """The same search in the plainest words: every child of every beam, one by one."""
    noise, place = Noise(seed, torch.zeros(1, dtype=torch.int64), 0), len(prompt)
    law_VV, found = table_VV.double().log_softmax(dim=1), []
    kept = [((), 0.0, 0.0)]
    for level in range(depth):
        position = torch.tensor([[place + level]])
        children = []
        for number, (text, logp, own) in enumerate(kept):
            drawn = noise.gumbel_BPV(f"stochastic-beams-{number}", position, len(law_VV))[0, 0]
            last = (*prompt, *text)[-1]
            noised = [logp + float(law_VV[last, v] + drawn[v]) for v in range(len(law_VV))]
            top = max(noised)
            for v, value in enumerate(noised):
                cut = -math.log(math.exp(-own) - math.exp(-top) + math.exp(-value))
                children.append(((*text, v), logp + float(law_VV[last, v]), cut))
        kept = sorted(children, key=lambda child: -child[2])[:width]
        found.append([text for text, _, _ in kept])
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("width", "depth"), [(1, 2), (3, 3), (5, 3)])
def test_the_beams_are_those_of_the_written_out_search(seed, width, depth):
    """Level by level, brothers in falling order."""
    net = markov(seed, 5)
    found = paths(drafts(width, depth, net, [2, seed % 5]))[:depth]
    assert searched(net.table_VV, [2, seed % 5], width, depth) == found


@given(
    parent=st.floats(-30, 3),
    values=st.lists(st.floats(-40, 5), min_size=1, max_size=6, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_no_child_exceeds_its_parent_and_the_largest_has_its_number(parent, values):
    """And order is kept."""
    noised = torch.tensor(values, dtype=torch.float64)[None, None]
    cut = below(torch.tensor([[[parent]]], dtype=torch.float64), noised)[0, 0]
    assert float(cut.max()) == pytest.approx(parent)
    order = noised[0, 0].argsort()
    assert bool((cut[order].diff() >= 0).all())


def test_one_beam_of_an_equal_drafter_always_stands():
    """It is classic speculative sampling then, and nothing is ever rejected."""
    nets = {"main": markov(1, 6), "drafter": markov(1, 6)}
    _, records, _ = decoded(beams(1, 3), nets, [[0], [3]], 16)
    kept = [each.audit.kept_BN.sum(dim=1).tolist() for each in records if each.phase == "verify"]
    assert [[3, 3]] * 4 == kept
