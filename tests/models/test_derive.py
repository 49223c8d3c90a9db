"""Derived models: the same weights in memory, fewer layers or coarser numbers."""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit import Runner, generate, load_spec
from dlmkit.engine import Engine
from dlmkit.errors import EngineError, ModelError
from dlmkit.models.arch import ArchSpec, MoeSpec, RotarySpec
from dlmkit.models.decoder import Decoder
from dlmkit.models.derivation import Derivation
from dlmkit.models.derive import derive_module, derived_facts
from tests.tiny_model import write_tiny_model

ARCH = ArchSpec(
    vocab_rows=20,
    hidden=16,
    layers=4,
    heads=2,
    kv_heads=1,
    head_dim=8,
    ffn=24,
    rotary=RotarySpec(dim=8),
    max_positions=32,
)
IDS = torch.arange(10).view(2, 5)
POSITIONS = torch.arange(5).expand(2, 5)


def decoder(arch: ArchSpec = ARCH) -> Decoder:
    torch.manual_seed(0)
    made = Decoder(arch)
    for value in made.parameters():
        torch.nn.init.normal_(value, std=0.3)
    return made.requires_grad_(False).eval()


def logits(module) -> torch.Tensor:
    return module.head(module(IDS, POSITIONS)[0])


def derived(module, **options):
    return derive_module(module, Derivation(source="verifier", **options))


def test_without_changes_it_is_its_source():
    """Every bit of every logit."""
    source = decoder()
    assert torch.equal(logits(source), logits(derived(source)))


@pytest.mark.parametrize("skipped", [(), (2,), (3, 0)])
def test_weights_are_shared(skipped):
    """Every parameter lies at an address of the source."""
    source = decoder()
    known = {value.data_ptr() for value in source.parameters()}
    made = derived(source, skip_layers=skipped)
    addresses = [value.data_ptr() for value in made.parameters()]
    assert known.issuperset(addresses)
    assert len(addresses) == len(set(addresses))
    assert 4 - len(skipped) == made.arch.layers == len(made.model.layers)


def test_the_remaining_layers_run_in_their_order():
    """As if the layers left out did nothing at all."""
    source = decoder()
    made = logits(derived(source, skip_layers=(1, 2)))
    for layer in (1, 2):
        source.model.layers[layer].self_attn.o_proj.weight.zero_()
        source.model.layers[layer].mlp.down_proj.weight.zero_()
    torch.testing.assert_close(logits(source), made)


def test_the_source_is_not_changed():
    """It still has all of its layers."""
    source = decoder()
    before = logits(source)
    derived(source, skip_layers=(0,))
    assert torch.equal(before, logits(source))
    assert 4 == source.arch.layers


@pytest.mark.parametrize(("skipped", "dense"), [((0,), 1), ((1,), 1), ((3,), 2)])
def test_dense_layers_of_a_mixture_stay_dense(skipped, dense):
    """The first two of its layers have no experts, whichever is left out."""
    source = decoder(attrs.evolve(ARCH, moe=MoeSpec(experts=3, chosen=1, ffn=8, dense_layers=2)))
    made = derived(source, skip_layers=skipped)
    assert dense == made.arch.moe.dense_layers
    assert torch.isfinite(logits(made)).all()


@pytest.mark.parametrize(
    ("skipped", "message"),
    [
        ((4,), "skip_layers names layer 4, but the model has layers 0 to 3"),
        ((0, 1, 2, 3), "skip_layers leaves none of the 4 layers"),
    ],
)
def test_layers_that_cannot_be_left_out_are_refused(skipped, message):
    """Where the check could not know the source yet."""
    with pytest.raises(ModelError, match=message):
        derived(decoder(), skip_layers=skipped)


def test_int8_is_close_and_takes_a_byte_for_each_weight_of_the_layers():
    """Embedding, norms and head stay shared; the source is not touched."""
    pytest.importorskip("torchao")
    source = decoder()
    before = logits(source)
    made = derived(source, quantize="int8")
    assert torch.equal(before, logits(source))
    assert 0.05 * before.abs().max() > (logits(made) - before).abs().max() > 0
    assert source.lm_head.weight.data_ptr() == made.lm_head.weight.data_ptr()
    facts = derived_facts(source, Derivation(source="verifier", quantize="int8"))
    weights = [v for n, v in source.named_parameters() if n.endswith("proj.weight")]
    assert sum(v.numel() + 4 * v.shape[0] for v in weights) == facts["extra_bytes"]


def test_int8_without_its_library_says_what_to_install(monkeypatch):
    """The library is not part of the plain installation."""
    monkeypatch.setitem(__import__("sys").modules, "torchao.quantization", None)
    with pytest.raises(EngineError, match="pip install 'dlmkit"):
        derived(decoder(), quantize="int8")


def spec(folder, derive: str) -> str:
    return (
        "dlmkit: pipeline/1\nname: thin\ngen_length: 8\n"
        f"models:\n  main: {{derive: {derive}}}\n  verifier: {folder}\n"
        "pipeline: {sample: greedy, confidence: probability, transfer: quota}\n"
    )


def test_a_spec_holds_a_model_and_one_derived_from_it(tmp_path):
    """In any order; both are called by their names, and their weights exist once."""
    folder = write_tiny_model(tmp_path / "tiny")
    runner = Runner.load(load_spec(spec(folder, "{from: verifier, skip_layers: [1]}")))
    assert ["main", "verifier"] == list(runner.models)
    main, verifier = (runner.models[name].network for name in runner.models)
    assert (1, 2) == (main.info.layers, verifier.info.layers)
    assert main.info.parameters < verifier.info.parameters
    kept = {value.data_ptr() for value in verifier.decoder.parameters()}
    assert all(value.data_ptr() in kept for value in main.decoder.parameters())
    assert runner.home.provenance.reference == f"{folder} without layer 1"


def test_nothing_left_out_decodes_like_its_source(tmp_path):
    """Token for token."""
    folder = write_tiny_model(tmp_path / "tiny")
    texts = []
    for model in ("{from: verifier}", None):
        overrides = [] if model else [f"models.main={folder}"]
        text = spec(folder, model or "{from: verifier}")
        texts += [each.token_ids for each in generate("sort: 5 2", text, overrides=overrides)]
    assert texts[0] == texts[1]


def test_an_engine_that_cannot_derive_says_so():
    """Engines of plugins need not know about derivations."""

    class Plain(Engine):
        name = "plain"

        def load(self, reference, options): ...

    with pytest.raises(EngineError, match="engine 'plain' cannot derive one model from another"):
        Plain().derive(None, Derivation(source="verifier"))
