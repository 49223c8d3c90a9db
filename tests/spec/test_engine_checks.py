"""A spec whose strategies do not fit its engine or its model is refused before loading."""

from __future__ import annotations

import json

import pytest

from dlmkit.spec import SpecError, load_spec

SPARSE = ["pipeline.cache=sparse"]


def refusal(*overrides):
    with pytest.raises(SpecError) as caught:
        load_spec("llada", overrides)
    return str(caught.value)


COMPILED, GRAPHS = '{"use": "torch", "compile": true}', '{"use": "onnxruntime"}'
SEEN, APART = (
    "attention-taps, which engine 'torch' does not offer as it is set here: it does not tell",
    "layer-steps, which engine {} does not offer as it is set here: it computes the same positions",
)


@pytest.mark.parametrize(
    ("cache", "engine", "reason"),
    [
        ("sparse", COMPILED, SEEN),
        ("d2cache", COMPILED, SEEN),
        ("dllm-cache", COMPILED, APART.format("'torch'")),
        ("dllm-cache", GRAPHS, APART.format("'onnxruntime'")),
        ("elastic-cache", GRAPHS, APART.format("'onnxruntime'")),
    ],
)
def test_an_engine_without_the_ability_is_refused(cache, engine, reason):
    """With what it cannot do: tell what attention saw, or run its layers apart."""
    chosen = f"pipeline.cache={cache}"
    text = refusal(chosen, f"models.main.engine={engine}")
    assert f"cache {cache!r} needs {reason}" in " ".join(text.split())
    assert load_spec("llada", [chosen])


def test_graphs_may_tell_what_attention_saw():
    """Whether a bundle does is known when it is loaded."""
    for cache in ("sparse", "d2cache"):
        assert load_spec("llada", [f"pipeline.cache={cache}", f"models.main.engine={GRAPHS}"])


@pytest.mark.parametrize("cache", ["dllm-cache", "elastic-cache"])
def test_a_cache_that_renews_its_layers_itself_is_not_refreshed(cache):
    """What layers keep is not in the store that `refresh` fills."""
    text = refusal(f"pipeline.cache={{use: refresh, every: 2, of: {cache}}}")
    assert f"cache {cache!r} renews what its layers keep by its own rule" in text


def test_a_cache_for_other_attention_is_refused():
    """The built-in drafter sees everything; a spec that names no model is not judged."""
    text = refusal("pipeline.cache=block-causal", "models.main.repo=builtin/drafter")
    assert "is for networks with block-causal attention; this one's is full" in text
    assert load_spec("llada", ["pipeline.cache=block-causal"])


def test_a_model_that_is_not_here_is_not_judged(tmp_path):
    """Nothing is downloaded to check a spec."""
    away = json.dumps(str(tmp_path / "nowhere"))
    assert load_spec("llada", ["pipeline.cache=block-causal", f"models.main.repo={away}"])


def test_soft_masks_beside_a_cache_of_masks_are_refused():
    """The prompt alone may be kept."""
    soft = "pipeline.inputs=[soft-mask]"
    assert "may keep masks as they were" in refusal(soft, "pipeline.cache=dual")
    assert load_spec("llada", [soft, "pipeline.cache=prompt"])


def test_shadows_beside_a_cache_of_layers_are_refused():
    """Layer by layer nothing else can be fed, nor a token hidden from its shadow."""
    wino = ["pipeline.revise=[unsupported]", "pipeline.max_steps=99"]
    cached = "pipeline.cache={use: dllm-cache, prompt_every: 1, answer_every: 1}"
    assert "cannot do layer by layer" in refusal(*wino, cached)
    assert "cannot do layer by layer" in refusal(*wino, "pipeline.cache=sparse")
    assert load_spec("llada", [*wino, "pipeline.cache=prompt"])


def test_what_differs_by_layer_is_not_led_by_another_policy():
    """The plan that is made anew would forget it."""
    text = refusal("pipeline.cache={use: leadless, of: sparse}")
    assert "cache 'sparse' has layers that differ, which is lost here" in text
