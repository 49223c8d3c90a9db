"""Built-in models are compiled on a processor, unless something speaks against it."""

from __future__ import annotations

import pytest
import torch

from dlmkit.cli.usual_engine import with_usual_engine
from dlmkit.defaults import DEFAULT_PIPELINE
from dlmkit.spec import load_spec


def engines(document):
    """The engines by model, and what is said about them."""
    document, notes = with_usual_engine(document)
    return {name: ref.engine and ref.engine.name for name, ref in document.models.items()}, notes


def test_the_front_door_is_compiled():
    """Drafter and verifier, and nothing need be said."""
    both = dict.fromkeys(("verifier", "drafter"), "onnxruntime")
    assert (both, []) == engines(load_spec(DEFAULT_PIPELINE))


@pytest.mark.parametrize("preset", ["d2cache", "soft-mask", "sparse-dllm"])
def test_so_are_methods_that_look_inside_or_mix(preset):
    """Their graphs are made when they are first used."""
    assert ({"main": "onnxruntime"}, []) == engines(load_spec(preset))


@pytest.mark.parametrize(
    "preset", ["long-llada", "parallel-prompt", "recursive-speculation", "speculative-sampling"]
)
def test_changed_models_are_compiled_too(preset):
    """With fewer layers, prompt tokens or another rotary embedding."""
    found, notes = engines(load_spec(preset))
    assert {"onnxruntime"} == set(found.values()) - {None}
    assert [] == notes


@pytest.mark.parametrize(
    "change",
    ["engine=torch", "dtype=bfloat16", "device=cuda", "revision=main", "repo=some/model"],
)
def test_whoever_says_something_is_left_alone(change, monkeypatch):
    """Without a remark: it is what was asked for."""
    monkeypatch.setattr("dlmkit.cli.usual_engine.choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    document = load_spec("llada", [f"models.main.{change}"])
    named = document.models["main"].engine
    assert ({"main": named and named.name}, []) == engines(document)


def test_a_gpu_runs_them_on_pytorch(monkeypatch):
    """Nobody has said `--device`, and there is one."""
    monkeypatch.setattr("dlmkit.cli.usual_engine.choose_device", lambda _: torch.device("cuda"))
    assert ({"main": None}, []) == engines(load_spec("llada"))


@pytest.mark.parametrize(
    ("preset", "changes", "reason"),
    [
        ("dllm-cache", [], "does not offer: it computes the same positions in every layer"),
        ("elastic-cache", [], "cache 'elastic-cache' needs layer-steps"),
        (
            DEFAULT_PIPELINE,
            ["models.drafter={derive: {from: verifier, quantize: int8}}"],
            "model 'drafter' is derived from it, and engine 'onnxruntime' cannot derive a model",
        ),
        (
            "dllm-cache",
            ["models={big: builtin/verifier, main: {derive: {from: big, skip_layers: [1]}}}"],
            "cache 'dllm-cache' needs layer-steps",
        ),
    ],
)
def test_what_compiled_networks_cannot_do_runs_on_pytorch_and_is_said(preset, changes, reason):
    """With the part that asks for it."""
    found, notes = engines(load_spec(preset, changes))
    assert set(found.values()) == {None}
    (note,) = notes
    assert reason in note
    assert "PyTorch" in note
