"""Graphs with abilities: mixtures of tokens as inputs, what attention saw as outputs.

Legend: B rows, Q fed positions, K mixed tokens.
"""

from __future__ import annotations

import functools
import json
import shutil

import attrs
import numpy
import onnx
import onnx_ir as ir
import pytest
import torch
from click.testing import CliRunner
from torch.testing import assert_close

from dlmkit.cli.main import main
from dlmkit.engine import LoadOptions
from dlmkit.errors import EngineError, RequestError
from dlmkit.generation import Runner
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.spec import SpecError, load_spec
from dlmkit.spec.documents import ModelRef
from dlmkit_export.bundle.buckets import Buckets
from dlmkit_export.bundle.manifest import MANIFEST, read_manifest
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_export.bundle.weights_file import WEIGHTS, write_weights
from dlmkit_export.contract import ABILITIES, CURRENT, FRESH, INPUTS, LOGITS, MIXTURE, PACK
from dlmkit_export.parity.measure import compare_bundle
from dlmkit_export.runtime import builtin_bundles
from dlmkit_export.runtime.changed import refuse_missing
from dlmkit_export.runtime.engine import OnnxRuntimeEngine
from tests.engines.calls import feed
from tests.export.compiled import bundle, make, network, opened, source
from tests.export.test_cache_policies import INSIDE, Seeing
from tests.export.test_cache_policies import PROMPTS as TEXTS
from tests.export.test_families import CLOSE, SHAPES, calls
from tests.export.test_families import PACK as STATISTICS
from tests.export.test_graph import graph
from tests.export.test_same_tokens import decoded
from tests.models.checkpoints import loaded
from tests.strategies.cache.decodes import POLICIES, decode

TAPS, MIXED = ABILITIES
BOTH = frozenset({"relevance", "rollout"})
PRESETS = ("d2cache", "d2cache-code", "soft-mask", "sparse-dllm", "superposed")
"""The published methods that need an ability."""


@functools.cache
def reference():
    return load_model(source("tiny"), device="cpu", dtype="float32").network


def able(**options):
    """The tiny network with both abilities."""
    return network("tiny", abilities=ABILITIES, **options)


def watched(rows, fed):
    """Some queries; in the second row none."""
    watch_BQ = torch.rand(rows, fed) > 0.5
    watch_BQ[1:2] = False
    return watch_BQ


def reading(inner):
    """The network as a causal one whose rows predict the next token."""
    seeing = Seeing(inner, AttentionPattern(kind="causal"))
    seeing.info = attrs.evolve(seeing.info, logit_shift=1)
    return seeing


def mixture(rows, fed):
    torch.manual_seed(rows)
    return {
        "mix_ids_BQK": torch.randint(0, 200, (rows, fed, 4)),
        "mix_weights_BQK": torch.rand(rows, fed, 4),
    }


def agree(expected, found):
    """Every output that is there."""
    both = [
        {**attrs.asdict(each.pack), **attrs.asdict(each.fresh), **attrs.asdict(each, recurse=False)}
        for each in (expected, found)
    ]
    names = [name for name, value in both[0].items() if isinstance(value, torch.Tensor)]
    assert names == [name for name, value in both[1].items() if isinstance(value, torch.Tensor)]
    for name in names:
        assert_close(both[0][name], both[1][name], **CLOSE)


@pytest.mark.parametrize("need", [STATISTICS, Need(logits=True)], ids=["pack", "logits"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_call_tells_what_attention_saw(shape, need):
    """Weights over cached and fed keys, relevance to watched queries, and all else as ever."""
    ids_BQ, given = calls(reference(), *shape)
    for taps in (BOTH, {"rollout"}, {"relevance"}):
        asked = attrs.evolve(need, taps=frozenset(taps))
        given["watch_BQ"] = watched(*ids_BQ.shape) if "relevance" in taps else None
        agree(*(feed(each, ids_BQ, asked, **given) for each in (reference(), able())))


@pytest.mark.parametrize("need", [STATISTICS, Need(logits=True)], ids=["pack", "logits"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_call_is_fed_mixtures(shape, need):
    """Any number of tokens, with weights that need not add up to one."""
    ids_BQ, given = calls(reference(), *shape)
    given |= mixture(*ids_BQ.shape)
    agree(*(feed(each, ids_BQ, need, **given) for each in (reference(), able())))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "opset"), [("llada_gqa_tied", 20), ("sdar", 23)])
def test_other_networks_and_the_decomposed_form_are_the_same(name, opset):
    """Key heads that are shared, norms of queries and keys, operators spelled out."""
    eager = loaded(name, dtype="float32").network
    compiled = network(name, opset=opset, abilities=ABILITIES)
    ids_BQ, given = calls(eager, 2, 9, 7)
    asked = Need(top=3, taps=BOTH)
    watch_BQ = watched(2, 9)
    for need, more in ((asked, {"watch_BQ": watch_BQ}), (STATISTICS, mixture(2, 9))):
        agree(*(feed(each, ids_BQ, need, **given, **more) for each in (eager, compiled)))


def test_padding_does_not_show(tmp_path):
    """Filler is neither watched nor fed anything, and nobody sees its weights."""
    folder = shutil.copytree(bundle("tiny", abilities=ABILITIES), tmp_path / "padded")
    buckets = Buckets(fed=(16,), slots=(16,), wanted=(16,))
    attrs.evolve(read_manifest(folder), buckets=buckets).write(folder)
    padded = opened(folder).network
    ids_BQ, given = calls(reference(), 2, 9, 7)
    more = {"watch_BQ": watched(2, 9)}
    for need, added in ((Need(taps=BOTH), more), (Need(), mixture(2, 9))):
        agree(*(feed(each, ids_BQ, need, **given, **added) for each in (able(), padded)))


def test_a_pass_that_rates_nothing_runs_the_plain_graph():
    """Sparse-dLLM needs relevance in a few passes of a block, and the others pay for none."""
    compiled = opened(bundle("tiny", abilities=ABILITIES)).network
    ids_BQ = torch.arange(6)[None]
    feed(compiled, ids_BQ, Need(taps=frozenset({"relevance"})))
    assert ["model.onnx"] == [*compiled._graphs]
    rating = {"watch_BQ": torch.ones_like(ids_BQ, dtype=torch.bool)}
    feed(compiled, ids_BQ, Need(taps=frozenset({"relevance"})), **rating)
    assert ["model.onnx", f"{TAPS}-model.onnx"] == [*compiled._graphs]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_decode_the_same_tokens(preset):
    """In the same number of steps, two prompts of different length in one batch."""
    document = load_spec(preset, ["gen_length=32"])
    models = [load_model(source("tiny"), device="cpu"), opened(bundle("tiny", abilities=ABILITIES))]
    if preset == "superposed":  # which is for causal networks
        models = [attrs.evolve(each, network=reading(each.network)) for each in models]
    eager, compiled = (decoded(model, document, ("sort: 7 3 9 1", "2 4")) for model in models)
    assert eager == compiled


@pytest.mark.parametrize("name", [name for name in POLICIES if name.startswith(INSIDE)])
def test_policies_that_look_inside_keep_the_caching_contract(name):
    """As on PyTorch at the same cost, whatever lies in unused slots, each row as alone."""
    found, session = decode(POLICIES[name], TEXTS, network=able())
    expected, before = decode(POLICIES[name], TEXTS, network=reference())
    assert (expected, before.counts) == (found, session.counts)
    assert found == decode(POLICIES[name], TEXTS, network=able(), poison=True)[0]
    for number, text in enumerate(TEXTS):
        (alone,), _ = decode(POLICIES[name], [text], network=able(), first_sample=number)
        assert alone == found[number]


def test_names_and_their_order_are_the_contract():
    """What an ability adds stands after the rest; the token asked about stays last."""
    added = {TAPS: (("watched",), ("attention", "relevance")), MIXED: (MIXTURE, ())}
    for ability, (into, out) in added.items():
        packed, plain = (
            graph(f"{ability}-{name}.onnx", abilities=ABILITIES) for name in ("model", "logits")
        )
        assert [*INPUTS, *into, CURRENT] == [value.name for value in packed.input]
        assert [*PACK, *FRESH, *out] == [value.name for value in packed.output]
        assert [*INPUTS, *into] == [value.name for value in plain.input]
        assert [LOGITS, *FRESH, *out] == [value.name for value in plain.output]


def test_abilities_cost_no_second_copy_of_the_weights():
    """All graphs read one file, which holds what it holds without them."""
    plain, more = bundle("tiny"), bundle("tiny", abilities=ABILITIES)
    names = {f"{ability}-{name}.onnx" for ability in ABILITIES for name in ("model", "logits")}
    assert names == {path.name for path in more.iterdir()} - {path.name for path in plain.iterdir()}
    assert (plain / WEIGHTS).read_bytes() == (more / WEIGHTS).read_bytes()
    assert sum((more / name).stat().st_size for name in names) < 200_000


def test_names_that_graphs_give_by_themselves_are_not_taken_for_one_another(tmp_path):
    """Two traces number their constants alike; the network's own tensors keep their names."""
    models, shared = [], numpy.ones((64, 2), numpy.float32)
    for fill in (1, 2):
        values = []
        for name, data in (("decoder.w", shared), ("val_1", numpy.full(128, fill, numpy.float32))):
            tensor = ir.tensor(data, name=name)
            values.append(ir.Value(name=name, const_value=tensor))
        graph_of = ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": 23})
        models.append(ir.Model(graph_of, ir_version=10))
    write_weights(models, tmp_path)
    first, second = (
        {name: value.const_value.numpy() for name, value in each.graph.initializers.items()}
        for each in models
    )
    assert 3 * 512 == (tmp_path / WEIGHTS).stat().st_size
    assert (1.0, 2.0) == (first["val_1"][0], second["val_1"][0])
    assert numpy.array_equal(first["decoder.w"], second["decoder.w"])


def test_a_bundle_without_an_ability_says_how_to_get_it():
    """When the spec is checked, when it is loaded, and in a call: with the whole command."""
    model = ModelRef(repo=str(bundle("tiny")), engine=OnnxRuntimeEngine())
    change = [f"models.main={bundle('tiny')}", "models.main.engine=onnxruntime", "gen_length=32"]
    for preset, ability in (("d2cache", TAPS), ("soft-mask", MIXED)):
        with pytest.raises(SpecError, match=rf"{preset}.* needs more.* compiled without {ability}"):
            load_spec(preset, change)
        document = attrs.evolve(load_spec(preset), models={"main": model})
        with pytest.raises(EngineError, match=f"is compiled without {ability}") as caught:
            Runner.load(document)
        assert f"dlmkit export --model tiny-checkpoint --with {ability} -o" in caught.value.hint
    Runner.load(load_spec("llada", change))
    with pytest.raises(EngineError, match=f"compiled without {MIXED}"):
        feed(network("tiny"), torch.zeros(1, 3, dtype=torch.int64), **mixture(1, 3))


def test_the_command_names_what_a_bundle_has_and_not_what_excludes_it(tmp_path):
    """Graphs with abilities do not write into their cache."""
    manifest = read_manifest(bundle("tiny"))
    for has, words in (
        ({"abilities": (TAPS,), "opset": 20}, f"--opset 20 --with {TAPS} --with {MIXED} -o"),
        ({"cache_slots": 9, "opset": 24}, f"--model tiny-checkpoint --with {MIXED} -o"),
    ):
        changed = attrs.evolve(manifest, graphs=attrs.evolve(manifest.graphs, **has))
        with pytest.raises(EngineError) as caught:
            refuse_missing(frozenset({MIXED, "prompt-tokens"}), "a bundle", changed)
        assert words in caught.value.hint


def test_one_pass_needs_one_ability():
    """No strategies that go together ask for two; a program may."""
    with pytest.raises(EngineError, match="cannot both be fed mixtures and tell"):
        feed(able(), torch.zeros(1, 3, dtype=torch.int64), Need(taps=BOTH), **mixture(1, 3))


@pytest.mark.parametrize("version", [1, 2])
def test_bundles_of_earlier_releases_are_read(tmp_path, version):
    """They have no abilities."""
    folder = shutil.copytree(bundle("tiny"), tmp_path / "old")
    fields = json.loads((folder / MANIFEST).read_text())
    fields["format"] = version
    del fields["graphs"]["abilities"]
    (folder / MANIFEST).write_text(json.dumps(fields))
    assert {"logits"} == opened(folder).network.info.capabilities
    assert {"logits", *ABILITIES} == able().info.capabilities


def test_built_in_models_are_compiled_with_what_is_needed_and_no_more(tmp_path, monkeypatch):
    """Each in a folder of its own: the first command of a user waits for nothing else."""
    monkeypatch.setattr(builtin_bundles, "cache_folder", lambda: tmp_path)
    made = []

    def make_bundle(_, folder, options, *__):
        made.append(options.abilities)
        shutil.copytree(bundle("tiny", abilities=ABILITIES), folder)
        manifest = read_manifest(folder)
        graphs = attrs.evolve(manifest.graphs, abilities=options.abilities)
        attrs.evolve(manifest, graphs=graphs).write(folder)

    monkeypatch.setattr("dlmkit_export.bundle.make.make_bundle", make_bundle)
    change = ["models.main.engine=onnxruntime", "models.main.device=cpu", "gen_length=32"]
    for preset in ("llada", "d2cache", "sparse-dllm", "llada-sampling"):
        Runner.load(load_spec(preset, [*change, "models.main.repo=builtin/verifier"]))
    assert [(), (TAPS,)] == made
    assert 2 == len([*tmp_path.glob("bundles/*")])
    derived = "models.drafter={derive: {from: main, skip_layers: [0]}}"
    document = load_spec("d2cache", [*change, "models.main.repo=builtin/verifier", derived])
    pipeline = attrs.evolve(document.pipeline, model="drafter")
    Runner.load(attrs.evolve(document, pipeline=pipeline))
    assert [(TAPS,)] == made[2:]


def test_caches_written_in_place_go_without():
    """By the option and by the command."""
    with pytest.raises(RequestError, match=f"have no {TAPS}"):
        ExportOptions(opset=24, cache_slots=8, abilities=(TAPS,))
    arguments = ("export", "-m", source("tiny"), "-o", "x", "--in-place", "8", "--with", MIXED)
    found = CliRunner().invoke(main, arguments)
    assert 2 == found.exit_code
    assert "leave out --in-place" in found.stderr


def test_a_network_that_has_nothing_of_the_kind_is_refused(tmp_path):
    """BD3-LM's network is not the shared decoder."""
    with pytest.raises(EngineError, match=rf"cannot be exported with {TAPS} and {MIXED}") as caught:
        make("bd3lm_adaln", tmp_path / "bundle", abilities=ABILITIES)
    assert f"--with {TAPS} --with {MIXED}" in caught.value.hint


def test_parity_puts_every_call_to_every_ability():
    """Whatever the pipeline asks; `inspect` names them."""
    folder = bundle("tiny", abilities=ABILITIES)
    short = ["gen_length=8", "pipeline.blocks.length=8"]
    found = [
        compare_bundle(each, load_spec("fast-dllm-dual", short), ("2 4",), model=source("tiny"))
        for each in (bundle("tiny"), folder)
    ]
    assert 3 * found[0].calls == found[1].calls
    assert {"attention", "relevance"} == found[1].errors.keys() - found[0].errors.keys()
    assert "identical" == found[1].verdict
    assert f"{TAPS}, {MIXED}" in CliRunner().invoke(main, ["bundle", "inspect", str(folder)]).stdout
    with pytest.raises(EngineError, match="compiled without"):
        compare_bundle(bundle("tiny"), load_spec("d2cache", short), ("2",), model=source("tiny"))


def test_a_graph_with_an_ability_is_verified_too(tmp_path):
    """Its weights may lie nowhere else."""
    folder = shutil.copytree(bundle("tiny", abilities=ABILITIES), tmp_path / "copy")
    (folder / f"{MIXED}-model.onnx").write_bytes(b"\xff" * 40)
    found = CliRunner().invoke(main, ["bundle", "verify", str(folder)])
    assert 2 == found.exit_code
    assert f"{MIXED}-model.onnx" in found.stderr


@pytest.mark.slow
def test_two_exports_are_equal_byte_for_byte(tmp_path):
    """And every graph of them passes ONNX's own checks."""
    first = bundle("tiny", abilities=ABILITIES)
    second = make("tiny", tmp_path / "again", abilities=(MIXED, TAPS, MIXED))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
        if path.suffix == ".onnx":
            onnx.checker.check_model(str(path), full_check=True)


def test_the_engine_offers_both():
    """What layers compute one by one stays with PyTorch."""
    assert {TAPS, MIXED, "prompt-tokens"} == OnnxRuntimeEngine().abilities()
    assert frozenset() == LoadOptions().abilities
