"""Huginn's published layout: a small checkpoint written in it, against a plain forward pass."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit import generate
from dlmkit.errors import ModelError
from dlmkit.models.config import Config
from dlmkit.models.loading import load_model
from dlmkit_strategies.families import Huginn
from tests.models.huginn_model import (
    DEPTH,
    EMBED,
    HEADS,
    LAYERS,
    STD,
    WIDTH,
    config,
    tensors,
    write_huginn_model,
)


@pytest.fixture
def checkpoint(tmp_path):
    """A folder as it is downloaded."""
    return write_huginn_model(tmp_path)


def normed(x, weight):
    """Divide by the root of the mean square."""
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def layer(x, weights, stem):
    """A sandwich layer over one text `[L, D]`, with rotation as complex numbers."""
    w = {name.removeprefix(f"{stem}."): value for name, value in weights.items()}
    length, size = len(x), WIDTH // HEADS
    fused = normed(x, w["norm_1.weight"]) @ w["attn.Wqkv.weight"].T
    q, k, v = (each.reshape(length, HEADS, size) for each in fused.split(WIDTH, dim=1))
    turns = 50000 ** -(torch.arange(0, size, 2).double() / size)
    spin = torch.polar(
        torch.ones(length, size // 2).double(), torch.arange(length)[:, None] * turns
    )
    heads = []
    for which, each in enumerate((q, k)):
        pairs = torch.view_as_complex(
            (each + w["attn.qk_bias"][which]).reshape(length, HEADS, -1, 2)
        )
        heads.append(torch.view_as_real(pairs * spin[:, None]).reshape(length, HEADS, size))
    scores = torch.einsum("qhe,khe->hqk", *heads) / size**0.5
    scores = scores.masked_fill(~torch.ones(length, length).tril().bool(), -torch.inf)
    mixed = torch.einsum("hqk,khe->qhe", scores.softmax(-1), v).reshape(length, WIDTH)
    x = normed(mixed @ w["attn.proj.weight"].T + x, w["norm_2.weight"])
    gate, value = (normed(x, w["norm_3.weight"]) @ w["mlp.fc.weight"].T).chunk(2, dim=1)
    return normed((F.silu(gate) * value) @ w["mlp.proj.weight"].T + x, w["norm_4.weight"])


def expected(ids, depth):
    """Logits of every row, from states of zero."""
    weights = {name.removeprefix("transformer."): t.double() for name, t in tensors().items()}
    condition = EMBED * weights["wte.weight"][ids]
    for number in range(LAYERS["prelude"]):
        condition = layer(condition, weights, f"prelude.{number}")
    state = torch.zeros_like(condition)
    for _ in range(depth):
        state = torch.cat((state, condition), dim=1) @ weights["adapter.weight"].T
        for number in range(LAYERS["core_block"]):
            state = layer(state, weights, f"core_block.{number}")
    x = normed(state, weights["ln_f.weight"])
    for number in range(LAYERS["coda"]):
        x = layer(x, weights, f"coda.{number}")
    return normed(x, weights["ln_f.weight"]) @ weights["wte.weight"].T


def test_a_pass_computes_what_the_release_describes(checkpoint):
    """Every row, over `mean_recurrence` recurrences of the core."""
    network = load_model(str(checkpoint), dtype="float64").network
    ids = torch.tensor([3, 1, 4, 1, 5, 9])
    seen = torch.ones(1, 1, 6, 6).tril().bool()
    with torch.inference_mode():
        hidden, _, _ = network.decoder(ids[None], torch.arange(6)[None], seen)
        found = network.decoder.head(hidden)[0]
    assert torch.allclose(expected(ids, DEPTH), found, atol=1e-5)


def test_states_begin_as_they_did_in_training(checkpoint):
    """The standard deviation of the config, scaled as embeddings are."""
    info = load_model(str(checkpoint)).network.info
    assert EMBED * STD == info.latent_scale
    assert WIDTH == info.latent_dim
    assert 1 == info.logit_shift


def test_the_sampler_runs_on_it(checkpoint):
    """At full depth before the next token it writes what ordinary decoding writes."""
    where = [f"models.main.repo={json.dumps(str(checkpoint))}", "gen_length=6"]
    sequential = {
        "wave": 1,
        "recurrences": DEPTH,
        "depth": DEPTH,
        "noise": 0,
        "momentum": 0,
        "scale": 0,
    }
    options = [f"pipeline.{name}={value}" for name, value in sequential.items()]
    plain = generate("sort: 4 2 9", "autoregressive", overrides=where)[0]
    found = generate("sort: 4 2 9", "recurrent-depth", overrides=[*where, *options])[0]
    assert plain.text == found.text
    drawn = generate("sort: 4 2 9", "recurrent-depth", overrides=where)[0]
    assert drawn.nfe["main"] > 0


def test_noise_outside_a_sampler_is_refused():
    """It would make an ordinary pass a matter of chance."""
    with pytest.raises(ModelError, match=r"test_time_noise is 0\.1"):
        Huginn().arch(Config(config(test_time_noise=0.1)))
