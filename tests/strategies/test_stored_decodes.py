"""Presets reproduce the decodes stored beside the reference checkpoints, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from dlmkit.models.loading import load_model
from dlmkit.spec import load_spec
from tests.core.runs import run

LLADA = [
    ("gsai_steps32_len32_block32", "llada", ["blocks.length=32", "transfer.steps_per_block=32"]),
    ("gsai_steps16_len32_block8", "llada", ["blocks.length=8", "transfer.steps_per_block=4"]),
    ("fd_steps32_len32_block8", "llada", ["blocks.length=8", "transfer.steps_per_block=8"]),
    ("fd_thr05_len32_block8", "fast-dllm", ["blocks.length=8", "transfer.threshold=0.5"]),
    ("fd_thr09_len32_block8", "fast-dllm", ["blocks.length=8", "transfer.threshold=0.9"]),
]
DREAM = [
    (f"{algorithm}_steps{steps}", f"dream-{algorithm.replace('_', '-')}", steps)
    for algorithm in ("maskgit_plus", "topk_margin", "entropy")
    for steps in (32, 12)
]


@pytest.fixture(scope="module")
def stored(fixtures):
    """Each family's network and arrays, loaded once."""

    def load(family):
        model = load_model(str(fixtures / family), device="cpu", dtype="float32")
        with np.load(fixtures / family / "decode.npz") as arrays:
            return model.network, dict(arrays)

    return {family: load(family) for family in ("llada", "dream")}


@pytest.mark.parametrize(("name", "preset", "options"), LLADA, ids=[each[0] for each in LLADA])
def test_llada_reproduces_the_stored_decode(stored, name, preset, options):
    """Tokens, and no more forward passes than the reference counted."""
    network, arrays = stored["llada"]
    document = load_spec(preset, ["gen_length=32", *(f"pipeline.{each}" for each in options)])
    rows, _, session = run(document.pipeline, network, arrays["prompt"].tolist(), 32)
    assert arrays[f"out_{name}"].tolist() == rows
    counted = int(arrays[f"nfe_{name}"])
    assert counted < 0 or session.counts.forwards <= counted


@pytest.mark.parametrize(("name", "preset", "steps"), DREAM, ids=[each[0] for each in DREAM])
def test_dream_reproduces_the_stored_history(stored, name, preset, steps):
    """The canvas after each of its steps."""
    network, arrays = stored["dream"]
    document = load_spec(preset, ["gen_length=32", f"pipeline.transfer.steps={steps}"])
    rows, records, _ = run(document.pipeline, network, arrays["prompt"].tolist(), 32)
    assert arrays[f"out_{name}"].tolist() == rows
    history = [record.after_BN[0].tolist() for record in records]
    assert arrays[f"history_{name}"].tolist() == history


@pytest.mark.parametrize("threshold", ["05", "09"])
def test_fast_dllm_for_dream_reproduces_the_stored_decode(stored, threshold):
    """Its quota with deferral, without a cache."""
    network, arrays = stored["dream"]
    options = ["gen_length=32", "pipeline.transfer.steps=32"]
    options.append(f"pipeline.transfer.threshold={int(threshold) / 10}")
    document = load_spec("fast-dllm-dream", options)
    rows, _, _ = run(document.pipeline, network, arrays["prompt"].tolist(), 32)
    assert arrays[f"out_fd_confthr{threshold}_steps32"].tolist() == rows


@pytest.mark.parametrize("cache", ["prefix", "dual"])
@pytest.mark.parametrize("threshold", ["05", "09"])
def test_fast_dllm_for_dream_over_a_cache_reproduces_the_stored_decode(stored, threshold, cache):
    """The first token of each block is decided by the whole pass, however unsure it is."""
    network, arrays = stored["dream"]
    options = ["gen_length=32", "pipeline.blocks.length=8"]
    options.append(f"pipeline.transfer.of.threshold={int(threshold) / 10}")
    options.append(f"pipeline.cache={{use: leadless, of: {cache}}}")
    document = load_spec("fast-dllm-dream-code", options)
    rows, _, _ = run(document.pipeline, network, arrays["prompt"].tolist(), 32)
    assert arrays[f"out_fd_block8_{cache}_thr{threshold}"].tolist() == rows
