"""The looped family: a checkpoint folder in a layout of its own, loaded and decoded."""

from __future__ import annotations

import json

import pytest
import torch
from torch.testing import assert_close

from dlmkit import generate
from dlmkit.errors import ModelError
from dlmkit.explaining.explain import explain
from dlmkit.models.config import Config
from dlmkit.models.derivation import Derivation
from dlmkit.models.derive import derive_module
from dlmkit.models.loading import load_model
from dlmkit.passes.latents import Latents
from dlmkit.spec import load_spec
from dlmkit.testing.toy import toy_looped_network
from dlmkit_strategies.families import Looped
from tests.models.looped_model import config, write_looped_model

SEQUENTIAL = {"wave": 1, "recurrences": 6, "depth": 6, "noise": 0, "momentum": 0, "scale": 0}


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with random weights."""
    return write_looped_model(tmp_path)


def test_an_ordinary_pass_is_that_many_recurrences_of_nothing(checkpoint):
    """However they are divided among passes."""
    network = load_model(str(checkpoint), dtype="float32").network
    ids, places = torch.tensor([[3, 1, 4, 1, 5]]), torch.arange(5)[None]
    seen = torch.ones(1, 1, 5, 5).tril().bool()
    zero = torch.zeros(1, 5, 16)
    latents = Latents(state_BND=zero, condition_BND=zero, kept_BN=zero[..., 0], recurrences=2)
    with torch.inference_mode():
        expected, _, _ = network.decoder(ids, places, seen)
        for _ in range(3):
            found, latents, _, _ = network.decoder.refine(ids, places, latents, seen)
    assert_close(expected, found)


@pytest.mark.parametrize("prompt", ["Tom has 3 apples.", "sort: 4 2 9"])
def test_at_full_depth_the_sampler_writes_what_ordinary_decoding_writes(checkpoint, prompt):
    """The preset `autoregressive` on the same folder."""
    where = [f"models.main.repo={json.dumps(str(checkpoint))}", "gen_length=10"]
    options = [f"pipeline.{name}={value}" for name, value in SEQUENTIAL.items()]
    plain = generate(prompt, "autoregressive", overrides=where)[0]
    found = generate(prompt, "recurrent-depth", overrides=[*where, *options])[0]
    assert plain.text == found.text
    assert plain.nfe == found.nfe


def test_layers_of_a_looped_model_are_not_left_out(checkpoint):
    """The others would move from one part to the next."""
    module = load_model(str(checkpoint)).network.decoder
    with pytest.raises(ModelError, match="this one repeats some"):
        derive_module(module, Derivation(source="main", skip_layers=(1,)))


def test_a_config_without_a_core_is_refused():
    """Prelude and coda leave nothing to repeat."""
    with pytest.raises(ModelError, match="1 prelude and 3 coda layers leave none of 4"):
        Looped().arch(Config(config(num_coda_layers=3)))


@pytest.mark.parametrize(("depth", "differs"), [(1, False), (3, True)])
def test_a_cache_is_an_approximation_of_whole_passes(depth, differs):
    """Stored keys are of the last recurrence; a pass over everything reads those of each."""
    network = toy_looped_network(depth=depth).decoder
    ids, places = torch.tensor([[3, 1, 4, 1, 5]]), torch.arange(5)[None]
    seen = torch.ones(1, 1, 5, 5).tril().bool()
    with torch.inference_mode():
        whole, keys, values = network(ids, places, seen)
        cached, _, _ = network(
            ids[:, 4:], places[:, 4:], seen[..., 4:, :], keys[..., :4, :], values[..., :4, :]
        )
    assert differs == bool((whole[:, 4:] - cached).abs().max() > 1e-3)


DRAFTING = """dlmkit: pipeline/1
name: looped
models: {{main: {path}}}
gen_length: 8
pipeline:
  use: draft-verify
  verifier:
    {{blocks: {{use: fixed, length: 1}},
    cache: {cache}, sample: greedy, confidence: probability, transfer: top-k}}
  draft: ngram-table
  view: causal
  judge: greedy
  scope: {{use: prefix, order: position}}
  resolve: replace-first
  bonus: next-token
  schedule: fixed
"""


def test_no_cache_promises_the_text_of_whole_passes(checkpoint):
    """`check` warns at its place, and `explain` says what is lost; without one all is well."""
    text = DRAFTING.format(path=json.dumps(str(checkpoint)), cache="block-causal")
    document = load_spec(text)
    (found,) = document.warnings
    assert ("looped-cache", 9, 12) == (found.check, found.mark.line, found.mark.column)
    lost = {each.id: each for each in explain(document).guarantees}
    assert not lost["law"].holds
    assert "keeps one recurrence" in lost["law"].reason
    document = load_spec(text.replace("cache: block-causal, ", ""))
    assert () == document.warnings
    assert {each.id: each.holds for each in explain(document).guarantees}["law"]


def test_ordinary_decoding_with_a_cache_is_not_exact_either(checkpoint):
    """The preset `autoregressive` stores what stands."""
    where = [f"models.main.repo={json.dumps(str(checkpoint))}"]
    known = {each.id: each for each in explain(load_spec("autoregressive", where)).guarantees}
    assert not known["exact"].holds
    assert "keeps the last recurrence" in known["exact"].reason
    plain = {each.id: each.holds for each in explain(load_spec("autoregressive")).guarantees}
    assert plain["exact"]
