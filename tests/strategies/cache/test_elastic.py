"""Elastic-Cache computes a sliding window, and more behind a layer whose attention drifts.

Legend: B rows, N canvas positions, D hidden size.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.models.layerwise import run_layers
from dlmkit.passes.layer_steps import Drift, LayerSteps
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.testing.toy import toy_network
from dlmkit_strategies.cache import ElasticCache, FeatureCache
from dlmkit_strategies.transfer import Threshold
from tests.strategies.cache.decodes import NEW, PROMPTS, Noted, decode
from tests.strategies.cache.test_contract import Rolled

RULES = {"quota": {}, "threshold": {"transfer": Threshold(0.4)}}
each_rule = pytest.mark.parametrize("slots", RULES.values(), ids=RULES)


@each_rule
def test_a_likeness_that_nothing_reaches_is_no_cache(slots):
    """Identity of the method at a gamma above 1, with a window over all masks."""
    assert decode(None, **slots)[0] == decode(ElasticCache(99, 1.5), **slots)[0]


@attrs.frozen
class SlidingWindow(CachePolicy):
    """The first masks and the tokens decided last, over stored keys and values of all else."""

    window: int

    def plan(self, view):
        """Everything in the first step."""
        canvas = view.canvas
        masked_BN = canvas.masked_BN & canvas.inside_BN
        first_BN = masked_BN & (masked_BN.cumsum(1) <= self.window)
        fresh_BN = ~masked_BN & (canvas.commit_step_BN == view.step - 1)
        window_BN = (first_BN | fresh_BN | (view.step == 0)) & canvas.inside_BN
        plan = Plan.of(window_BN, cached_BN=~window_BN, commit_BN=window_BN)
        return plan if view.step else attrs.evolve(plan, cached_BN=None)


@each_rule
@pytest.mark.parametrize("window", [4, 7])
def test_without_a_bound_it_is_a_sliding_window_over_stored_keys(window, slots):
    """At gamma 0 nothing is renewed, so only keys and values of the rest matter."""
    expected, _ = decode(SlidingWindow(window), [PROMPTS[0]], **slots)
    assert expected == decode(ElasticCache(window, 0.0), [PROMPTS[0]], **slots)[0]


def test_a_row_decodes_as_it_does_alone():
    """Rows of several lengths, each with layers of its own that drift."""
    cache = ElasticCache(4, 0.95)
    together, _ = decode(cache)
    for number, prompt in enumerate(PROMPTS):
        (alone,), _ = decode(cache, [prompt], first_sample=number)
        assert alone == together[number]


def test_a_shifted_network_is_served():
    """The row that predicts a mask is computed with it."""
    network = toy_network()
    plain, _ = decode(ElasticCache(3, 1.5), network=network)
    assert plain == decode(ElasticCache(3, 1.5), network=Rolled(network))[0]
    decode(ElasticCache(3, 0.9), network=toy_network(logit_shift=1))


def test_only_the_window_is_decided():
    """A block may hold more masks than are computed."""
    _, session = decode(ElasticCache(2, 0.0), [PROMPTS[0]], length=NEW, steps=1)
    # Two masks in a step, and from the second step on the two tokens before them.
    assert [15, *[4] * (NEW // 2 - 1)] == [each["fed"] for each in session.passes]


def test_what_is_computed_grows_with_the_bound():
    """From the window alone to everything in every step."""
    fed = [decode(ElasticCache(4, bound), [PROMPTS[0]])[1] for bound in (0.0, 0.9, 1.0, 1.5)]
    counts = [session.counts.fed_positions for session in fed]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2


def pass_by_hand(decoder, tokens, window, among, bound, kept):
    """The rule for one row, position by position; `kept` holds what each layer left."""
    columns = len(tokens)
    fed = list(range(columns)) if not kept else sorted(window)
    h_ND = decoder.embed(torch.tensor(tokens))
    angles = decoder.model.rotary(torch.arange(columns)[None], h_ND.dtype)
    refreshed = not kept
    for index, layer in enumerate(decoder.model.layers):
        old = kept.setdefault(index, {"h": torch.zeros_like(h_ND), "given": {}})
        attention = layer.self_attn
        x_1ND = layer.input_layernorm(h_ND)[None]
        q, k = attention.queries_and_keys(x_1ND, angles)
        v = attention.values(x_1ND)
        old.setdefault("k", k.clone()), old.setdefault("v", v.clone())
        for n in fed:
            old["k"][:, :, n], old["v"][:, :, n] = k[:, :, n], v[:, :, n]
        for n in fed:
            a_D = attention.attend(q[:, :, [n]], old["k"], old["v"], None)[0, 0]
            h_D = h_ND[n] + a_D
            old["h"][n] = h_D + layer.mlp(layer.post_attention_layernorm(h_D[None]))[0]
        h_ND = old["h"].clone()
        weights = {n: attended(q[0, :, n], old["k"][0]) for n in window}
        if not refreshed and drifted(weights, old, bound):
            refreshed, fed = True, list(range(columns))
        mass = {n: sum(float(weights[m][n]) for m in window) for n in among}
        old["most"] = max(among, key=lambda n: (mass[n], -n))
        old["given"] = {n: float(weights[n][old["most"]]) for n in window}
    return h_ND


def attended(q_HE, keys_GNE):
    """Softmax of scaled products, mean over heads; heads share keys in groups."""
    size = q_HE.shape[0] // keys_GNE.shape[0]
    rows = [
        (keys_GNE[head // size] @ q_E * q_E.shape[0] ** -0.5).softmax(0)
        for head, q_E in enumerate(q_HE)
    ]
    return sum(rows) / len(rows)


def drifted(weights, old, bound):
    both = [n for n in weights if n in old["given"]]
    now = torch.tensor([float(weights[n][old["most"]]) for n in both])
    before = torch.tensor([old["given"][n] for n in both])
    return float(torch.cosine_similarity(now, before, 0)) < bound


@pytest.mark.parametrize("bound", [0.0, 0.98, 0.9999])
def test_layers_follow_the_rule_written_out(bound):
    """Two rows with windows of their own, over tokens that are decided one by one."""
    network, columns = toy_network(), 10
    decoder, mask = network.decoder, network.info.mask_id
    generator = torch.Generator().manual_seed(3)
    ids_BN = torch.full((2, columns), mask)
    ids_BN[:, :3] = torch.randint(0, 20, (2, 3), generator=generator)
    kept, features, fresh_B = ({}, {}), None, [None, None]
    for step in range(6):
        windows = []
        for row, size in enumerate((2, 4)):
            masks = (ids_BN[row] == mask).nonzero()[:, 0].tolist()[:size]
            windows.append({*masks, *([] if fresh_B[row] is None else [fresh_B[row]])})
        watch_BN = torch.tensor([[n in window for n in range(columns)] for window in windows])
        everything_BN, known_BN = torch.ones_like(watch_BN), ids_BN != mask
        drift = Drift(watch_BN=watch_BN, among_BN=known_BN, restart_BN=everything_BN, bound=bound)
        steps = LayerSteps(refresh_BN=watch_BN if step else everything_BN, drift=drift)
        places_BN = torch.arange(columns).expand(2, -1)
        with torch.inference_mode():
            hidden_BND, features, _ = run_layers(decoder, ids_BN, places_BN, None, steps, features)
            for row in range(2):
                among = known_BN[row].nonzero()[:, 0].tolist()
                expected = pass_by_hand(
                    decoder, ids_BN[row].tolist(), windows[row], among, bound, kept[row]
                )
                assert torch.allclose(expected, hidden_BND[row], atol=1e-9)
        ids_BN = ids_BN.clone()
        for row in range(2):
            fresh_B[row] = 3 + step
            ids_BN[row, 3 + step] = torch.randint(0, 20, (1,), generator=generator)


def test_a_restart_over_nothing_stale_is_a_full_pass():
    """Every layer that is run again gives what it gave."""
    decoder, places_BN = toy_network().decoder, torch.arange(8)[None]
    ids_BN = torch.arange(8)[None]
    everything_BN = torch.ones_like(ids_BN, dtype=torch.bool)
    drift = Drift(watch_BN=ids_BN < 3, among_BN=everything_BN, restart_BN=everything_BN, bound=2.0)
    with torch.inference_mode():
        first, features, _ = run_layers(
            decoder, ids_BN, places_BN, None, LayerSteps(refresh_BN=everything_BN), None
        )
        steps = LayerSteps(refresh_BN=ids_BN < 3, drift=drift)
        again, _, count = run_layers(decoder, ids_BN, places_BN, None, steps, features)
    assert torch.allclose(first, again, atol=1e-12)
    assert count == round((3 + 8) / 2)


@pytest.mark.parametrize("cache", [ElasticCache(3, 0.95), FeatureCache(4, 3, 0.4)])
def test_the_slot_for_filler_is_never_read(cache, monkeypatch):
    """Large numbers in it change nothing."""
    plain, _ = decode(cache)
    predict = Noted.predict

    def poisoned(session, *inputs, **more):
        """Fill the slot behind the canvas before every pass."""
        if session.features is not None:
            for name in ("keys_YBGME", "values_YBGME", "attended_YBMD", "fed_forward_YBMD"):
                getattr(session.features, name)[..., -1, :] = 1e4
        return predict(session, *inputs, **more)

    monkeypatch.setattr(Noted, "predict", poisoned)
    with torch.inference_mode():
        assert plain == decode(cache)[0]
