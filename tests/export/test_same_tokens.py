"""A spec decodes the same tokens on PyTorch and on ONNX Runtime."""

from __future__ import annotations

import attrs
import pytest

from dlmkit.engine import find_engine
from dlmkit.generation import Runner
from dlmkit.models.loading import load_model
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.store import keep_costs
from dlmkit.profiling.weighing import Scales
from dlmkit.spec import load_spec
from tests.export.compiled import bundle, opened

PROMPTS = ("Tom has 12 apples. He buys 7 more. How many has he now?", "sort: 7 3 9 1")
PRESETS = ("fast-dllm-dual", "llada-margin", "llada-sampling", "dkv-greedy")
"""Full and block passes, candidates, whole distributions, scattered positions."""


@pytest.fixture(scope="module")
def models():
    """The built-in verifier on both engines."""
    eager = load_model("builtin/verifier", device="cpu")
    return eager, opened(bundle("builtin/verifier"))


def decoded(model, document, prompts):
    """Tokens and the number of passes; greedy and drawn tokens depend on the seed alone."""
    runner = Runner(document, dict.fromkeys(document.models, model))
    decode = runner.start(runner.encode(list(prompts)))
    steps = sum(1 for _ in decode)
    return [result.token_ids for result in decode.results()], steps


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_decode_the_same_tokens(models, preset):
    """In the same number of steps, two prompts of different length in one batch."""
    document = load_spec(preset, ["gen_length=32"])
    eager, compiled = (decoded(model, document, PROMPTS) for model in models)
    assert eager == compiled


CHANGED = (
    "long-llada",
    "parallel-prompt",
    "recursive-speculation",
    "recursive-speculation-beams",
    "speculative-sampling",
)
"""Another rotary embedding, prompt tokens, layers left out."""


def loaded(engine, document):
    """A document with everything that it loads on one engine."""
    refs = {
        name: ref if ref.derive else attrs.evolve(ref, engine=find_engine(engine), device="cpu")
        for name, ref in document.models.items()
    }
    return Runner.load(attrs.evolve(document, models=refs))


@pytest.mark.parametrize("preset", CHANGED)
def test_presets_with_changed_models_decode_the_same_tokens(preset):
    """What is compiled is the changed model, in every number of passes."""
    document = load_spec(preset, ["gen_length=32"])
    eager, compiled = (
        spent(loaded(engine, document), PROMPTS) for engine in ("torch", "onnxruntime")
    )
    assert eager == compiled


def spent(runner, prompts):
    """Tokens of each prompt, and what was decided by how much work."""
    decode = runner.start(runner.encode(list(prompts)))
    for _ in decode:
        pass
    return [(found.token_ids, found.nfe, found.ledger) for found in decode.results()]


def test_measured_costs_of_changed_models_are_told_apart(monkeypatch, tmp_path):
    """And found again by what a spec says, without loading anything."""
    runner = loaded("onnxruntime", load_spec("speculative-sampling"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    for seconds, model in enumerate(runner.models.values(), 1):
        keep_costs(model, CostTable({(1, 1): float(seconds)}))
    found = Scales.find(runner.models, "main")
    assert [1.0, 2.0] == [found.costs[name].of(1, 1) for name in runner.models]
    assert found == Scales.recorded(runner.document.models, "main")


def traced(model, document, prompts):
    """What each step left of each row, up to the row's last change."""
    runner = Runner(document, dict.fromkeys(document.models, model))
    decode = runner.start(runner.encode(list(prompts)))
    rows = [[] for _ in prompts]
    for record in decode:
        ends = decode.canvas.length_B.tolist()
        for row, steps in enumerate(rows):
            if bool(record.live_B[row]):
                steps.append(record.after_BN[row, : ends[row]].tolist())
    return rows


@pytest.mark.parametrize("engine", [0, 1], ids=["torch", "onnxruntime"])
def test_a_batch_decodes_what_its_rows_decode_alone(models, engine):
    """Batch 8 and batch 1, step by step, on either engine."""
    document = load_spec("fast-dllm-dual", ["gen_length=32"])
    prompts = [f"Ann has {count} pens and buys 3. How many pens has she?" for count in range(8)]
    together = traced(models[engine], document, prompts)
    assert [traced(models[engine], document, [prompt])[0] for prompt in prompts] == together


def test_steps_are_the_same_on_both_engines(models):
    """At batch 8, token by token in each step."""
    document = load_spec("fast-dllm-dual", ["gen_length=32"])
    prompts = [f"sort: {count} 7 3 {count + 4}" for count in range(8)]
    eager, compiled = (traced(model, document, prompts) for model in models)
    assert eager == compiled


def test_the_graph_with_logits_is_loaded_where_somebody_asks():
    """Everybody else is served by the one with the score pack."""
    loaded = []
    for preset in ("fast-dllm-dual", "llada-sampling"):
        model = opened(bundle("builtin/verifier"))
        decoded(model, load_spec(preset, ["gen_length=32"]), ["1"])
        loaded.append(sorted(model.network._graphs))
    assert [["model.onnx"], ["logits.onnx"]] == loaded


def test_the_engine_is_chosen_in_the_spec():
    """`--engine onnxruntime --model bundle` and the same in a document."""
    changes = [f"models.main={bundle('builtin/verifier')}", "models.main.engine=onnxruntime"]
    document = load_spec("llada", [*changes, "gen_length=32"])
    runner = Runner.load(document)
    assert "onnxruntime" == runner.home.network.info.engine
    assert 1 == len(decoded(runner.home, document, PROMPTS[:1])[0])
