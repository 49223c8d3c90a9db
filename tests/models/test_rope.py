"""NTK-aware scaling: the published factors, and texts beyond the trained context."""

from __future__ import annotations

import attrs
import pytest
import torch

import dlmkit
from dlmkit.engine import LoadOptions, find_engine
from dlmkit.errors import EngineError, ModelError, RequestError
from dlmkit.generation import Runner
from dlmkit.models.arch import ArchSpec, Llama3Scaling, RotarySpec
from dlmkit.models.rotary import frequencies
from dlmkit.spec import load_spec
from dlmkit_strategies.rope import NtkRope

LLADA = ArchSpec(
    vocab_rows=126464,
    hidden=4096,
    layers=32,
    heads=32,
    kv_heads=32,
    head_dim=128,
    ffn=12288,
    rotary=RotarySpec(dim=128, base=500_000.0),
    max_positions=4096,
)


@pytest.mark.parametrize(("context", "factor"), [(8192, 4), (16384, 14), (24576, 31), (32768, 55)])
def test_the_factors_of_the_paper_follow_from_the_context(context, factor):
    """LLaDA-8B's, as LongLLaDA lists them."""
    longer = NtkRope(context=context).stretch(LLADA)
    assert 500_000.0 * factor == longer.rotary.base
    assert context == longer.max_positions
    assert LLADA == attrs.evolve(longer, rotary=LLADA.rotary, max_positions=4096)


def test_frequencies_are_those_of_the_larger_base():
    """1 / (base x factor)^(2i / d) for pair i of the d dimensions."""
    longer = NtkRope(context=16384, factor=14.0).stretch(LLADA)
    expected = [(7_000_000.0) ** (-2 * pair / 128) for pair in range(64)]
    found = frequencies(longer.rotary, torch.device("cpu"))
    assert torch.allclose(torch.tensor(expected), found, rtol=1e-5)


def test_the_slowest_trained_angle_is_never_exceeded():
    """At the new limit, the critical pair turns no further than once around, as trained."""
    longer = NtkRope(context=16384).stretch(LLADA)
    critical = 64 // 2  # d* = 64 of 128 dimensions
    inverse_R = frequencies(longer.rotary, torch.device("cpu"))
    assert float(inverse_R[critical] * 16384) <= 2 * torch.pi


def test_a_model_that_stretches_itself_is_refused():
    """Two scalings would undo each other."""
    scaling = Llama3Scaling(factor=8.0, low=1.0, high=4.0, original=8192)
    own = attrs.evolve(LLADA, rotary=attrs.evolve(LLADA.rotary, scaling=scaling))
    with pytest.raises(ModelError, match="stretches its rotary embedding itself"):
        NtkRope(context=16384).stretch(own)


def test_a_shorter_context_is_refused():
    """The message names both."""
    with pytest.raises(ModelError, match="context of 1000, but the model is trained on 4096"):
        NtkRope(context=1000).stretch(LLADA)


LONG = [
    "gen_length=520",
    "pipeline.blocks.partial=true",
    "pipeline.length={use: eotp, min_confidence: 0.5}",
]
ROPE = "models.main.rope={use: ntk, context: 1024}"


def test_a_spec_decodes_beyond_the_trained_context():
    """Without `rope` the same request is refused."""
    with pytest.raises(RequestError, match="context is 512"):
        dlmkit.generate("copy: 4 7", "fast-dllm", overrides=LONG)
    (result,) = dlmkit.generate("copy: 4 7", "fast-dllm", overrides=[*LONG, ROPE])
    assert 0 == result.masks_left


def test_a_factor_of_one_changes_no_token():
    """Up to the trained length, the network is the same."""
    one = dlmkit.generate("copy: 4 7", "fast-dllm", overrides=["gen_length=32"])
    rope = "models.main.rope={use: ntk, context: 1024, factor: 1}"
    other = dlmkit.generate("copy: 4 7", "fast-dllm", overrides=["gen_length=32", rope])
    assert one[0].token_ids == other[0].token_ids


def test_rope_counts_in_the_spec_id():
    """It decides the tokens; leaving it out changes no id."""
    plain, long = load_spec("llada"), load_spec("llada", [ROPE])
    assert plain.spec_id != long.spec_id
    assert load_spec("llada", ["models.main.rope=null"]).spec_id == plain.spec_id


def test_an_engine_that_cannot_stretch_refuses():
    """Nothing is left out in silence."""
    engine = find_engine("transformers")
    with pytest.raises(EngineError, match="cannot change the rotary embedding"):
        engine.load("anything", LoadOptions(rope=NtkRope(context=1024)))


def test_the_network_says_how_far_it_reaches():
    """So that everything that checks lengths knows."""
    runner = Runner.load(load_spec("llada", [ROPE]))
    assert 1024 == runner.home.network.info.max_positions
