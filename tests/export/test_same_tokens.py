"""A spec decodes the same tokens on PyTorch and on ONNX Runtime."""

from __future__ import annotations

import pytest

from dlmkit.generation import Runner
from dlmkit.models.loading import load_model
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


def test_a_batch_decodes_what_its_rows_decode_alone(models):
    """Batch 8 and batch 1, on the compiled network."""
    document = load_spec("fast-dllm-dual", ["gen_length=32"])
    prompts = [f"Ann has {count} pens and buys 3. How many pens has she?" for count in range(8)]
    together, _ = decoded(models[1], document, prompts)
    assert [decoded(models[1], document, [prompt])[0][0] for prompt in prompts] == together


def test_the_engine_is_chosen_in_the_spec():
    """`--engine onnxruntime --model bundle` and the same in a document."""
    changes = [f"models.main={bundle('builtin/verifier')}", "models.main.engine=onnxruntime"]
    document = load_spec("llada", [*changes, "gen_length=32"])
    runner = Runner.load(document)
    assert "onnxruntime" == runner.home.network.info.engine
    assert 1 == len(decoded(runner.home, document, PROMPTS[:1])[0])
