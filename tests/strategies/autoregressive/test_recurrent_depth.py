"""The diffusion-forcing sampler against a loop over one text, and at its limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import EngineError, RequestError
from dlmkit.passes.session import Session
from dlmkit.requirements import refuse_unmet
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_looped_network, toy_network
from dlmkit_strategies.autoregressive import RecurrentDepth
from tests.strategies.autoregressive.wavefront_loop import WavefrontLoop, ended

PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6], [5]]
NEW, MASK, END, SEED, DEPTH = 12, 23, 22, 3, 8
SEQUENTIAL = {"recurrences": DEPTH, "depth": DEPTH, "noise": 0.0, "momentum": 0.0, "scale": 0.0}


def records_of(procedure, prompts, weights=0, first_sample=0):
    session = Session(toy_looped_network(weights, depth=DEPTH))
    canvas = Canvas.create(prompts, NEW, MASK, first_sample=first_sample)
    return list(procedure.steps(Context({"main": session}, SEED), canvas)), session, canvas


def texts(procedure, prompts, weights=0, first_sample=0):
    _, _, canvas = records_of(procedure, prompts, weights, first_sample)
    rows = zip(canvas.tokens_BN.tolist(), prompts, strict=True)
    return [row[: len(prompt) + NEW] for row, prompt in rows]


RULES = {
    "default": {},
    "slow": {"recurrences": 1, "tolerance": 0.01},
    "disturbed": {
        "recurrences": 2, "noise": 0.9, "scale": 0.6, "momentum": 0.6, "tolerance": 0.2,
    },
    "to the last": {"recurrences": 1, "contiguous": False, "tolerance": 0.2},
    "headway": {"recurrences": 2, "headway": 3, "wave": 5},
    "narrow": {"recurrences": 2, "wave": 2, "tolerance": 0.001},
    "steady": {"recurrences": 1, "freeze": "latent-acceleration", "tolerance": 0.2},
    "stable": {"recurrences": 4, "freeze": "token-stability", "patience": 40},
    "fixed": {"recurrences": 2, "freeze": "fixed", "headway": 2},
    "drawn": {"recurrences": 2, "temperature": 0.7, "tolerance": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("weights", range(3))
def test_it_writes_what_a_loop_over_one_text_writes(name, weights):
    """Every row of a batch, with its own noise."""
    rules = RecurrentDepth(**{"depth": DEPTH, **RULES[name]})
    network = toy_looped_network(weights, depth=DEPTH)
    with torch.inference_mode():
        expected = [
            WavefrontLoop(network, prompt, rules, NEW, seed=SEED, sample=sample).text()
            for sample, prompt in enumerate(PROMPTS)
        ]
    assert expected == texts(rules, PROMPTS, weights)


def greedy(prompt, weights):
    """One token after the other, each at full depth, over stored keys and values."""
    decoder, tokens, past = toy_looped_network(weights, depth=DEPTH).decoder, list(prompt), None
    new = tokens
    while len(tokens) < len(prompt) + NEW:
        first = len(tokens) - len(new)
        seen = torch.ones(len(new), len(tokens)).tril(first).bool()[None, None]
        places = torch.arange(first, len(tokens))[None]
        hidden, *fresh = decoder(torch.tensor([new]), places, seen, *(past or (None, None)))
        past = (
            fresh
            if past is None
            else [torch.cat(each, 3) for each in zip(past, fresh, strict=True)]
        )
        logits = decoder.head(hidden)[0, -1]
        logits[MASK] = -torch.inf
        new = [int(logits.argmax())]
        tokens = tokens + new
    return ended(tokens, len(prompt), END)


@pytest.mark.parametrize("wave", [1, 3])
@pytest.mark.parametrize("weights", range(3))
def test_at_full_depth_before_the_next_token_it_is_greedy_decoding(wave, weights):
    """A position is final before another is begun, however wide the wavefront might be."""
    with torch.inference_mode():
        expected = [greedy(prompt, weights) for prompt in PROMPTS]
    assert expected == texts(RecurrentDepth(wave=wave, **SEQUENTIAL), PROMPTS, weights)


def test_less_depth_may_write_another_text():
    """Else the comparisons above would say little."""
    shallow = RecurrentDepth(**{**SEQUENTIAL, "recurrences": 1, "tolerance": 1.0})
    found = [texts(shallow, PROMPTS, weights) for weights in range(3)]
    full = [texts(RecurrentDepth(**SEQUENTIAL), PROMPTS, weights) for weights in range(3)]
    assert found != full


@pytest.mark.parametrize("freeze", ["latent-diff", "latent-acceleration", "token-stability"])
def test_converged_positions_are_not_waited_for(freeze):
    """Each rule takes fewer passes than the patience would, and `fixed` takes just that."""
    rules = {"depth": 8, "recurrences": 4, "patience": 80, "tolerance": 0.05, "noise": 0.0}
    passes = {
        rule: records_of(RecurrentDepth(**rules, freeze=rule), PROMPTS)[1].counts.forwards
        for rule in (freeze, "fixed")
    }
    assert passes[freeze] < passes["fixed"]
    assert passes["fixed"] == 1 + 80 // 4 + NEW - 2


def test_drawn_texts_are_near_the_best_ones_where_it_is_cold():
    """And others where it is hot."""
    hot, cold = ({**SEQUENTIAL, "temperature": heat} for heat in (2.0, 1e-6))
    best = texts(RecurrentDepth(**SEQUENTIAL), PROMPTS)
    assert best == texts(RecurrentDepth(**cold), PROMPTS)
    assert best != texts(RecurrentDepth(**hot), PROMPTS)


@pytest.mark.parametrize("name", RULES)
def test_a_row_decodes_as_it_does_alone(name):
    """Its noise belongs to the row and the place."""
    rules = RecurrentDepth(**{"depth": DEPTH, **RULES[name]})
    alone = [texts(rules, [p], first_sample=i)[0] for i, p in enumerate(PROMPTS)]
    assert alone == texts(rules, PROMPTS)


@pytest.mark.parametrize("name", RULES)
def test_frozen_tokens_stay(name):
    """What a pass decides, no later one changes."""
    records, _, _ = records_of(RecurrentDepth(**{"depth": DEPTH, **RULES[name]}), PROMPTS)
    for record in records:
        kept = record.before_BN == record.after_BN
        assert bool((kept | (record.before_BN == MASK)).all())


def test_where_nothing_converges_the_wave_stands():
    """Up to `wave` positions are fed; each is final at full depth."""
    rules = RecurrentDepth(depth=DEPTH, recurrences=1, tolerance=0.0, wave=3)
    records, session, _ = records_of(rules, [PROMPTS[0]])
    fed = [record.counts.fed_positions for record in records]
    widths = [after - before for before, after in pairwise(fed)]
    assert max(widths) == 3
    assert widths[:3] == [1, 2, 3]
    assert session.counts.forwards == len(records)
    assert bool((records[DEPTH - 1].after_BN == records[0].after_BN).all())


def test_a_network_without_latents_is_refused():
    """Before decoding, and in the session."""
    info = toy_network().info
    with pytest.raises(EngineError, match=r"'recurrent-depth' needs latents.*'main'"):
        refuse_unmet(RecurrentDepth(), {"main": info})
    refuse_unmet(RecurrentDepth(), {"main": toy_looped_network().info})
    session, canvas = Session(toy_network(logit_shift=1)), Canvas.create(PROMPTS, NEW, MASK)
    with pytest.raises(EngineError, match="cannot refine latents of this model"):
        next(RecurrentDepth().steps(Context({"main": session}, SEED), canvas))


def test_text_behind_a_mask_is_refused():
    """It would never be read."""
    canvas = Canvas.create([[3, MASK, 4]], 0, MASK, infill=True)
    session = Session(toy_looped_network())
    with pytest.raises(RequestError, match="reads nothing behind a mask"):
        next(RecurrentDepth().steps(Context({"main": session}, SEED), canvas))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("models.main.repo=builtin/guide", "models of the family 'qwen2' do not have"),
        ('models.main.engine={"use": "torch", "compile": true}', "needs latents, which engine"),
        ('models.main.engine={"use": "onnxruntime"}', "needs latents, which engine"),
    ],
)
def test_a_spec_for_another_network_is_refused(change, message):
    """With the place and what to do."""
    with pytest.raises(Exception, match="pipeline") as caught:
        load_spec("recurrent-depth", [change])
    assert message in str(caught.value)
    assert "use " in str(caught.value)
