"""dLLM-Cache renews in each layer what that layer sees change.

Legend: N canvas positions, D hidden size.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.errors import EngineError
from dlmkit.models.layerwise import run_layers
from dlmkit.passes.layer_steps import Adapt, LayerSteps
from dlmkit.passes.session import Session
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import FeatureCache, Prompt
from dlmkit_strategies.wino import Unsupported
from tests.strategies.cache.decodes import PROMPTS, decode, pipeline


def test_renewing_everything_is_no_cache():
    """Identity of the method at K_p = K_r = 1."""
    assert decode(None)[0] == decode(FeatureCache(prompt_every=1, answer_every=1))[0]


@pytest.mark.parametrize("cache", [FeatureCache(99, 1, 0.0), FeatureCache(99, 99, 1.0)])
def test_renewing_the_answer_is_a_cache_of_the_prompt(cache):
    """In every step, or because the whole answer counts as changed."""
    assert decode(Prompt(isolated=False))[0] == decode(cache)[0]


def test_a_row_decodes_as_it_does_alone():
    """Rows of several lengths, each with its own share."""
    cache = FeatureCache(4, 3, 0.4)
    together, _ = decode(cache)
    for number, prompt in enumerate(PROMPTS):
        (alone,), _ = decode(cache, [prompt], first_sample=number)
        assert alone == together[number]


def pass_by_hand(decoder, tokens, refresh, adapt, count, kept):
    """The rule for one row, position by position; `kept` holds what each layer gave last."""
    columns = len(tokens)
    places = torch.arange(columns)[None]
    h_ND = decoder.embed(torch.tensor(tokens))
    angles = decoder.model.rotary(places, h_ND.dtype)
    for index, layer in enumerate(decoder.model.layers):
        old = kept.setdefault(index, {})
        attention, everything = layer.self_attn, index == 0 or not old
        x_1ND = layer.input_layernorm(h_ND)[None]
        q, k = attention.queries_and_keys(x_1ND, angles)
        v = attention.values(x_1ND)
        rows, looked = list(range(columns)), list(range(columns))
        if not everything:
            alike = {
                n: float(
                    torch.cosine_similarity(v[0, :, n].flatten(), old["v"][0, :, n].flatten(), 0)
                )
                for n in adapt
            }
            rows = sorted({*refresh, *sorted(adapt, key=lambda n: (alike[n], n))[:count]})
            looked = sorted({*refresh, *adapt})
        else:
            old.update(k=k.clone(), v=v.clone(), a=torch.zeros_like(h_ND), m=torch.zeros_like(h_ND))
        for n in looked:
            old["v"][:, :, n] = v[:, :, n]
        for n in rows:
            old["k"][:, :, n] = k[:, :, n]
        for n in rows:
            old["a"][n] = attention.attend(q[:, :, [n]], old["k"], old["v"], None)[0, 0]
        for n in rows:
            old["m"][n] = layer.mlp(layer.post_attention_layernorm((h_ND[n] + old["a"][n])[None]))[
                0
            ]
        h_ND = h_ND + old["a"] + old["m"]
    return h_ND


def test_layers_follow_the_rule_written_out():
    """Several passes over changing tokens: two rows, other shares, some prompt renewals."""
    decoder = toy_network().decoder
    generator = torch.Generator().manual_seed(3)
    kept, features = ({}, {}), None
    ids_BN = torch.randint(0, 23, (2, 9), generator=generator)
    for step in range(6):
        ids_BN = ids_BN.clone()
        ids_BN[:, 3 + step] = torch.randint(0, 23, (2,), generator=generator)
        answer_BN = (torch.arange(9) >= 3).expand(2, -1)
        refresh_BN = ~answer_BN if step % 4 == 0 else torch.zeros_like(answer_BN)
        adapt = Adapt(where_BN=answer_BN, count_B=torch.tensor([1, 3]))
        steps = LayerSteps(refresh_BN=refresh_BN, adapt=adapt)
        with torch.inference_mode():
            places_BN = torch.arange(9).expand(2, -1)
            hidden_BND, features, _ = run_layers(decoder, ids_BN, places_BN, None, steps, features)
            for row, count in enumerate((1, 3)):
                refresh = refresh_BN[row].nonzero()[:, 0].tolist()
                expected = pass_by_hand(
                    decoder, ids_BN[row].tolist(), refresh, range(3, 9), count, kept[row]
                )
                assert torch.allclose(expected, hidden_BND[row], atol=1e-9)


def test_computed_positions_are_counted():
    """All in the first pass; then all in the first of two layers, and a part in the other."""
    fed = [each["fed"] for each in decode(FeatureCache(99, 99, 0.25), [PROMPTS[0]])[1].passes]
    assert [15, *[9] * (len(fed) - 1)] == fed


def test_an_engine_that_runs_all_layers_alike_is_named():
    """A compiled network cannot do this."""
    network = toy_network()
    network.info = attrs.evolve(network.info, engine="sealed", capabilities=frozenset())
    with pytest.raises(EngineError, match="'sealed' runs all layers of this model alike"):
        decode(FeatureCache(), network=network)


def test_shadows_do_not_go_with_layer_steps():
    """They would be queries that no layer keeps."""
    revise = (Unsupported(),)
    procedure = attrs.evolve(pipeline(FeatureCache()), revise=revise, max_steps=9)
    network = toy_network()
    canvas = Canvas.create(PROMPTS, 4, network.info.mask_id)
    with pytest.raises(EngineError, match="neither shadows"):
        next(procedure.steps(Context({"main": Session(network)}), canvas))
