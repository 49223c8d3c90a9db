"""Causal models decode one token a pass, as their own libraries do."""

from __future__ import annotations

import functools

import pytest

from dlmkit import generate
from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from tests.models.checkpoints import loaded, recorded

NEW = 24
STORED = ("qwen2_ar", "qwen2_ar_tied", "qwen3_ar", "qwen3_moe_ar", "llama_ar")


@functools.cache
def network(name):
    return loaded(name, dtype="float32").network


def decoded(name, prompts, overrides=()):
    """The tokens after each prompt, and what it cost."""
    document = load_spec("autoregressive", [f"gen_length={NEW}", "pipeline.stop=[]", *overrides])
    model = network(name)
    session = Session(model)
    canvas = Canvas.create(prompts, NEW, model.info.vocab_size)
    for _ in document.pipeline.steps(Context({"main": session}), canvas):
        pass
    rows = zip(canvas.tokens_BN.tolist(), prompts, strict=True)
    return [row[len(prompt) :][:NEW] for row, prompt in rows], session.counts


@pytest.mark.parametrize("cache", ["null", "block-causal"])
@pytest.mark.parametrize("name", STORED)
def test_a_causal_model_continues_as_its_library_does(name, cache):
    """The stored greedy continuation, with and without the cache."""
    arrays = recorded(name, "logits.npz")
    prompt = arrays["prompt"][0].tolist()
    found, counts = decoded(name, [prompt], [f"pipeline.cache={cache}"])
    assert arrays["greedy_out"][0].tolist()[-NEW:] == found[0]
    assert NEW == counts.forwards


def test_every_token_is_computed_once():
    """The prompt in the first pass, then the newest token; the last one is never fed."""
    prompt = recorded("qwen2_ar", "logits.npz")["prompt"][0].tolist()
    _, counts = decoded("qwen2_ar", [prompt])
    assert len(prompt) + NEW - 1 == counts.fed_positions


def test_rows_of_any_lengths_decode_together():
    """A row is what it is alone, and undecided positions are never looked up."""
    prompts = [[3, 1, 4, 1, 5, 9, 2, 6], [5, 3], [5, 8, 9, 7, 9]]
    together, _ = decoded("qwen2_ar", prompts)
    assert [decoded("qwen2_ar", [prompt])[0][0] for prompt in prompts] == together


def test_the_built_in_guide_writes_text():
    """By name alone, in one batch, and stopping at the end of the text."""
    result = generate(
        "Tom has 3 apples and buys 2 more.", "autoregressive", overrides=["gen_length=48"]
    )
    assert result[0].text
    assert result[0].tokens <= result[0].nfe["main"] <= result[0].tokens + 1
