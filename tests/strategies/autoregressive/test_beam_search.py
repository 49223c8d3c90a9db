"""Beam search against a slow search over plain lists, and the searches that it contains."""

from __future__ import annotations

import functools

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.errors import EngineError
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.autoregressive import BeamSearch

VOCABULARY, END, NEW = 12, 10, 6
PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6], [5]]


@functools.cache
def network(seed=0):
    """A causal toy without a mask token, whose last token but one ends a text."""
    toy = toy_network(
        seed, vocabulary=VOCABULARY, logit_shift=1, attention=AttentionPattern(kind="causal")
    )
    return TorchNetwork(toy.decoder, attrs.evolve(toy.info, mask_id=None))


def searched(prompts, seed=0, new=NEW, **options):
    """The new tokens of each row, and what it cost."""
    canvas, session = Canvas.create(prompts, new, VOCABULARY), Session(network(seed))
    for _ in BeamSearch(**options).steps(Context({"main": session}), canvas):
        pass
    rows = zip(canvas.tokens_BN.tolist(), prompts, strict=True)
    return [row[len(prompt) :][:new] for row, prompt in rows], session.counts


@functools.cache
def next_logp(seed, text):
    """Log-probabilities of the token after a text, by one plain pass."""
    order = torch.arange(len(text))[None]
    inputs = NetworkInputs(
        ids_BQ=torch.tensor([text]),
        positions_BQ=order,
        want_BS=order[:, -1:],
        mask_new_B1QQ=torch.ones(len(text), len(text), dtype=torch.bool).tril()[None, None],
    )
    logits = network(seed).forward(inputs, Need(logits=True)).logits_BSV
    return logits[0, 0].double().log_softmax(-1).tolist()


def continuations(seed, beam):
    """Every text that goes on from a beam, with its log-probability."""
    text, score = beam
    if text[-1] == END and len(text) > 1:
        return [((*text, END), score)]
    return [((*text, token), score + gain) for token, gain in enumerate(next_logp(seed, text))]


def slowly(prompt, seed, beams, groups, diversity):
    """Group after group, keep the best of all continuations; the best text in the end."""
    width = beams // groups
    kept = [[(tuple(prompt), 0.0)] for _ in range(groups)]
    for _ in range(NEW):
        taken = [0] * VOCABULARY
        for group, texts in enumerate(kept):
            every = [each for beam in texts for each in continuations(seed, beam)]
            every.sort(key=lambda each: each[1] - diversity * taken[each[0][-1]], reverse=True)
            kept[group] = every[:width]
            for text, _ in kept[group]:
                taken[text[-1]] += 1
        best = max((beam for texts in kept for beam in texts), key=lambda beam: beam[1])
        if best[0][-1] == END:
            break
    text = list(best[0][len(prompt) :])
    return text + [END] * (NEW - len(text))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("beams", "groups", "diversity"), [(1, 1, 0.0), (3, 1, 0.0), (4, 2, 0.7), (4, 4, 3.0)]
)
def test_the_search_keeps_what_a_plain_one_keeps(seed, beams, groups, diversity):
    """Over plain lists, without a cache, one text at a time; rows of a batch apart."""
    options = {"beams": beams, "groups": groups, "diversity": diversity}
    expected = [slowly(prompt, seed, **options) for prompt in PROMPTS]
    assert expected == searched(PROMPTS, seed, **options)[0]


@pytest.mark.parametrize("seed", range(4))
def test_groups_without_diversity_are_one_smaller_search(seed):
    """They all choose alike."""
    together = searched(PROMPTS, seed, beams=6, groups=3, diversity=0.0)
    assert searched(PROMPTS, seed, beams=2)[0] == together[0]


def test_as_many_beams_as_tokens_find_the_likeliest_pair():
    """Nothing that could win is dropped when two tokens are to be found."""
    text = tuple(PROMPTS[0])
    first = next_logp(0, text)
    total = {
        (a, b): first[a] + next_logp(0, (*text, a))[b]
        for a in range(VOCABULARY)
        for b in range(VOCABULARY)
        if a != END
    }
    found, _ = searched([PROMPTS[0]], new=2, beams=VOCABULARY)
    assert max(total, key=total.__getitem__) == tuple(found[0])


def test_one_beam_decodes_as_the_greedy_preset_does():
    """Same tokens, same passes, same positions fed."""
    canvas, session = Canvas.create(PROMPTS, NEW, VOCABULARY), Session(network())
    pipeline = load_spec("autoregressive", ["pipeline.stop=[]"]).pipeline
    for _ in pipeline.steps(Context({"main": session}), canvas):
        pass
    found, counts = searched(PROMPTS, beams=1)
    rows = zip(canvas.tokens_BN.tolist(), PROMPTS, strict=True)
    greedy = [row[len(prompt) :][:NEW] for row, prompt in rows]
    ends = [row.index(END) + 1 if END in row else NEW for row in greedy]
    assert [row[:end] for row, end in zip(greedy, ends, strict=True)] == [
        row[:end] for row, end in zip(found, ends, strict=True)
    ]
    assert counts.forwards <= session.counts.forwards


def test_beams_are_rows_of_one_pass():
    """Every pass counts them all, and feeds each its newest token."""
    _, counts = searched([[3, 1, 4]], beams=4)
    assert 4 * counts.forwards == counts.rows
    assert 4 * (3 + counts.forwards - 1) == counts.fed_positions


def test_other_networks_are_refused():
    """Beams of a network that looks ahead would mean nothing."""
    session = Session(toy_network())
    canvas = Canvas.create([[1]], 2, 23)
    with pytest.raises(EngineError, match="beam-search is for causal networks"):
        next(iter(BeamSearch().steps(Context({"main": session}), canvas)))
