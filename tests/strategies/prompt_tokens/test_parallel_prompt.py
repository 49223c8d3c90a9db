"""Parallel prompt decoding writes what greedy decoding does, in fewer passes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from dlmkit.builtin.accuracy import held_out
from dlmkit.builtin.evaluate import SEED
from dlmkit.context import Context
from dlmkit.engines.torch_engine import TorchEngine
from dlmkit.errors import ModelError, RequestError
from dlmkit.models.derivation import Derivation
from dlmkit.passes.session import Session
from dlmkit.spec import SpecError, load_spec
from dlmkit_strategies.prompt_tokens import PromptedTree
from dlmkit_strategies.trees.shapes import likeliest
from tests.models.checkpoints import loaded
from tests.strategies.answers import answers
from tests.strategies.trees.chains import decoded

PROMPTS = [[3, 1, 4, 1, 5], [2], [6, 5, 3]]
STOPLESS = "pipeline.verifier.stop=[]"


def derived(family, folder, count=3):
    """A fixture with random prompt tokens."""
    source = loaded(family, dtype="float32")
    width = source.network.decoder.arch.hidden
    generator = torch.Generator().manual_seed(1)
    save_file({"prompts_MD": torch.randn(count, width, generator=generator)}, folder / "prompts")
    return (
        TorchEngine()
        .derive(source, Derivation(source="base", prompt_tokens=str(folder / "prompts")))
        .network
    )


def test_embeddings_are_shared(tmp_path):
    """Prompt tokens are all that is added."""
    source = loaded("qwen2_ar", dtype="float32")
    save_file({"prompts_MD": torch.zeros(3, source.network.decoder.arch.hidden)}, tmp_path / "some")
    derivation = Derivation(source="base", prompt_tokens=str(tmp_path / "some"))
    made = TorchEngine().derive(source, derivation).network
    weights = [each.decoder.model.embed_tokens.weight for each in (source.network, made)]
    assert weights[0].data_ptr() == weights[1].data_ptr()


@pytest.mark.parametrize("family", ["qwen2_ar", "qwen3_ar", "llama_ar"])
def test_the_text_is_that_of_greedy_decoding(family, tmp_path):
    """Whatever the prompt tokens say, on each causal fixture, in no more passes."""
    plain = load_spec("autoregressive", ["pipeline.stop=[]"]).pipeline
    pipeline = load_spec("parallel-prompt", [STOPLESS]).pipeline
    rows, records, _ = decoded(
        plain, {"main": loaded(family, dtype="float32").network}, PROMPTS, 12
    )
    found, passes, _ = decoded(pipeline, {"main": derived(family, tmp_path)}, PROMPTS, 12)
    assert rows == found
    assert len(passes) <= len(records)


def test_guesses_are_what_prompt_tokens_say_behind_the_text(tmp_path):
    """Against a pass over the bare text and the prompt tokens, without canvas or view."""
    network, first = derived("qwen2_ar", tmp_path), {}
    runs, begin = [], PromptedTree.begin

    def spied(drafter, setting):
        runs.append(begin(drafter, setting))
        return runs[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptedTree, "begin", spied)
        pipeline = load_spec("parallel-prompt", [STOPLESS]).pipeline
        from dlmkit.canvas import Canvas

        canvas = Canvas.create([PROMPTS[0]], 12, network.info.vocab_size)
        for _ in pipeline.steps(Context({"main": Session(network)}), canvas):
            first.setdefault("top", runs[0].top_BMK[0])
            first.setdefault("place", int(runs[0].place_B[0]))
    ids = torch.tensor([[*PROMPTS[0], *network.info.prompt_ids]])
    positions = torch.arange(ids.shape[1])[None]
    mask = (positions[0, :, None] >= positions[0])[None, None]
    hidden = network.decoder(ids, positions, mask)[0]
    top = network.decoder.head(hidden[:, len(PROMPTS[0]) :]).topk(4, dim=-1).indices[0]
    assert len(PROMPTS[0]) + 1 == first["place"]
    assert torch.equal(top, first["top"][:, :4])


def test_the_built_in_guide_guesses_for_itself():
    """On held-out lists: the same answers in at most three quarters of the passes."""
    examples = held_out("lists", 12, SEED)
    alone, most = answers("autoregressive", examples)
    texts, passes = answers("parallel-prompt", examples)
    assert alone == texts
    assert passes <= 0.75 * most


def test_a_row_decodes_as_it_does_alone(tmp_path):
    """What is remembered belongs to rows."""
    network = derived("qwen2_ar", tmp_path)
    pipeline = load_spec("parallel-prompt", [STOPLESS]).pipeline
    together, _, _ = decoded(pipeline, {"main": network}, PROMPTS, 9)
    alone = [decoded(pipeline, {"main": network}, [each], 9)[0][0] for each in PROMPTS]
    assert alone == together


def test_the_tree_has_the_likeliest_nodes():
    """Of every path, by the product of its shares."""
    shares = ((0.6, 0.2), (0.5, 0.3), (0.1, 0.05))
    shape = likeliest(5, shares)
    paths = {}
    for node, (parent, rank) in enumerate(zip(shape.parents, shape.ranks, strict=True)):
        paths[node] = (*paths.get(parent, ()), rank)
    assert {(0,), (1,), (0, 0), (0, 1), (1, 0)} == set(paths.values())


def test_a_model_without_prompt_tokens_is_refused():
    """At the strategy that feeds them; and from Python, where the decode begins."""
    with pytest.raises(SpecError) as caught:
        load_spec("parallel-prompt", ["models={main: builtin/guide}"])
    (found,) = caught.value.problems
    assert "prompt-tokens" == found.check
    assert found.hint.startswith("derive it with some")
    network = loaded("qwen2_ar", dtype="float32").network
    with pytest.raises(RequestError, match="the tree is 3 deep, and model 'main' has 0 prompt"):
        decoded(load_spec("parallel-prompt").pipeline, {"main": network}, PROMPTS, 4)


def test_a_file_that_is_not_there_is_refused():
    """At check time, with its place."""
    with pytest.raises(SpecError, match="there is no file 'nowhere'"):
        load_spec("parallel-prompt", ["models.main.derive.prompt_tokens=nowhere"])


def test_prompt_tokens_of_another_width_are_refused(tmp_path):
    """They are one model's own."""
    save_file({"prompts_MD": torch.zeros(3, 5)}, tmp_path / "narrow")
    (tmp_path / "broken").write_bytes(b"nothing")
    for name, reason in (("narrow", "embeddings have"), ("broken", "holds no prompt tokens")):
        derivation = Derivation(source="base", prompt_tokens=str(tmp_path / name))
        with pytest.raises(ModelError, match=reason):
            TorchEngine().derive(loaded("qwen2_ar", dtype="float32"), derivation)


def test_a_view_without_every_node_is_refused():
    """What is said behind a node in the middle of a path would be lost."""
    with pytest.raises(SpecError, match="does not show it"):
        load_spec("parallel-prompt", ["pipeline.view=paths"])
