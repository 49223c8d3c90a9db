"""Bundles whose graphs write into their cache: the same tokens, or a sentence.

Legend: B rows, Q fed positions, C cache slots.
"""

from __future__ import annotations

import functools
import json
import shutil

import attrs
import onnx
import onnx_ir as ir
import pytest
import torch
from click.testing import CliRunner
from torch.testing import assert_close

from dlmkit.cli.main import main
from dlmkit.errors import EngineError, RequestError
from dlmkit.key_values.in_place import WritingNetwork
from dlmkit.key_values.store import Store
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.network import KeyValues
from dlmkit.spec import load_spec
from dlmkit_export.bundle.buckets import Buckets
from dlmkit_export.bundle.manifest import MANIFEST, read_manifest
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_export.contract import CURRENT, IN_PLACE, LOGITS, PACK, caches, written
from dlmkit_export.graph.in_place import write_in_place
from dlmkit_export.parity.measure import compare_bundle
from tests.engines.calls import feed
from tests.export.compiled import bundle, make, network, opened, source
from tests.export.test_cache_policies import CASES, PROMPTS, Seeing
from tests.export.test_same_tokens import decoded
from tests.models.checkpoints import loaded
from tests.strategies.cache.decodes import decode

SLOTS, LAYERS = 40, 2
FORM = {"opset": 24, "cache_slots": SLOTS}
SCATTERED = ("dkv", "recap")
"""Policies that compute positions here and there."""
RAGGED = ("vicinity", "free-cache-settled", "sub-block-draft")
"""Policies whose rows compute different numbers of positions."""
PARALLEL, QUOTA = (
    ("fast-dllm-dual", "fast-dllm-prefix"),
    ("further-horizon", "lavida-prefix", "llada"),
)
PACKED = Need(top=3, entropy=True, current=True)
CLOSE = {"atol": 3e-4, "rtol": 1e-4}


@functools.cache
def engines():
    """The same network: written in place, and on PyTorch."""
    return network("tiny", **FORM), load_model(source("tiny"), device="cpu").network


def graph(name="model.onnx"):
    return onnx.load(str(bundle("tiny", **FORM) / name), load_external_data=False).graph


def sizes(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_names_and_sizes_are_the_contract():
    """A cache for each layer, of fixed size, as input and as output of the same shape."""
    packed, plain = graph(), graph("logits.onnx")
    into, out = caches(LAYERS), written(LAYERS)
    assert [*IN_PLACE, *into, CURRENT] == [value.name for value in packed.input]
    assert [*PACK, *out] == [value.name for value in packed.output]
    assert [*IN_PLACE, *into] == [value.name for value in plain.input]
    assert [LOGITS, *out] == [value.name for value in plain.output]
    info = engines()[0].info
    heads, width = info.kv_heads, info.head_dim
    found = {value.name: sizes(value) for value in (*packed.input, *packed.output)}
    assert ["rows", 1, "fed", SLOTS] == found["mask"]
    for before, after in zip(into, out, strict=True):
        assert ["rows", heads, SLOTS, width] == found[before] == found[after]


def test_fresh_keys_are_scattered_and_read_where_they_are():
    """Two scatters for each layer; no other node touches a cache, and nothing is put behind it."""
    nodes = graph().node
    scatters = [node for node in nodes if node.op_type == "TensorScatter"]
    assert [*written(LAYERS)] == [node.output[0] for node in scatters]
    assert {"write_index"} == {node.input[2] for node in scatters}
    assert set(caches(LAYERS)) == {node.input[0] for node in scatters}
    reading = [node for node in nodes if set(node.input) & {*caches(LAYERS), *written(LAYERS)}]
    assert {"TensorScatter", "Attention"} == {node.op_type for node in reading}
    model = onnx.load(str(bundle("tiny", **FORM) / "model.onnx"))
    assert [24] == [each.version for each in model.opset_import]
    onnx.checker.check_model(model, full_check=True)


def window(reference, rows, fed, start_B):
    """A pass over a run of positions in each row, other slots filled, under ragged masks."""
    torch.manual_seed(fed)
    info = reference.info
    shape = (info.layers, rows, info.kv_heads, SLOTS, info.head_dim)
    keys, values = torch.randn(shape), torch.randn(shape)
    positions_BQ = torch.tensor(start_B)[:, None] + torch.arange(fed)
    past = torch.rand(rows, 1, fed, SLOTS) > 0.3
    past.scatter_(3, positions_BQ[:, None, None].expand(rows, 1, fed, fed), value=False)
    new = (torch.rand(rows, 1, fed, fed) > 0.5) | torch.eye(fed, dtype=torch.bool)
    ids_BQ = torch.randint(0, 200, (rows, fed))
    given = {"positions_BQ": positions_BQ, "mask_past_B1QC": past, "mask_new_B1QQ": new}
    return ids_BQ, KeyValues(keys_YBGCE=keys, values_YBGCE=values), given


def agree(reference, compiled):
    """The same statistics, and the same cache afterwards: written in the window alone."""
    for rows, fed, start_B in ((2, 9, (3, 20)), (1, 1, (0,)), (2, SLOTS, (0, 0))):
        ids_BQ, past, given = window(reference, rows, fed, start_B)
        found = []
        for each in (WritingNetwork(reference, SLOTS), compiled):
            room = past.copied()
            output = feed(each, ids_BQ, PACKED, past=room, current_BS=ids_BQ, **given)
            assert output.fresh is None
            found.append((*attrs.astuple(output.pack, recurse=False), *attrs.astuple(room)))
        assert_close(*found, **CLOSE)


def test_the_call_is_the_same():
    """Windows at different places, one position, the whole cache."""
    agree(engines()[1], engines()[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llada_gqa_tied", "bd3lm_adaln"])
def test_the_call_is_the_same_for_other_families(name):
    """Networks with shared heads, and with adaptive norms."""
    agree(loaded(name, dtype="float32").network, network(name, **FORM))


def test_what_was_stored_is_written_where_it_lies():
    """In the memory of the store that it is given: nothing is copied."""
    compiled = engines()[0]
    store = Store.allocate(compiled.info, 1, 12)
    before = store.room.keys_YBGCE.data_ptr()
    positions_BQ = torch.arange(4, 9)[None]
    past = torch.zeros(1, 1, 5, SLOTS, dtype=torch.bool)
    feed(
        compiled,
        torch.arange(5)[None],
        Need(),
        past=store.content,
        mask_past_B1QC=past,
        positions_BQ=positions_BQ,
    )
    assert before == store.room.keys_YBGCE.data_ptr()
    touched = store.room.keys_YBGCE.abs().sum(dim=(0, 1, 2, 4)) > 0
    assert [4, 5, 6, 7, 8] == touched.nonzero()[:, 0].tolist()


def decode_both(cache, attention, prompts):
    """Tokens and counts, written in place and on PyTorch."""
    inside, eager = (Seeing(each, attention) for each in engines())
    found, session = decode(cache, prompts, network=inside, poison=True)
    expected, reading = decode(cache, prompts, network=eager)
    return (found, session.counts), (expected, reading.counts)


RUNS = [each for name, each in CASES.items() if not name.startswith((*SCATTERED, *RAGGED))]
REFUSED = [
    (*each, PROMPTS[:1] if name.startswith(SCATTERED) else PROMPTS)
    for name, each in CASES.items()
    if name.startswith((*SCATTERED, *RAGGED))
]


@pytest.mark.parametrize(("cache", "attention"), RUNS)
def test_policies_that_compute_neighbours_decode_the_same_tokens(cache, attention):
    """Rows of different length, at the same cost, with poison in unused slots."""
    found, expected = decode_both(cache, attention, PROMPTS)
    assert expected == found


@pytest.mark.parametrize("name", RAGGED)
def test_policies_whose_rows_differ_decode_one_text_at_a_time(name):
    """Then no filler is written over anything."""
    found, expected = decode_both(*CASES[name], PROMPTS[:1])
    assert expected == found


@pytest.mark.parametrize(("cache", "attention", "prompts"), REFUSED)
def test_other_policies_are_refused(cache, attention, prompts):
    """The sentence says which bundle to export."""
    words = r"neighbouring positions|different numbers"
    with pytest.raises(EngineError, match=words) as caught:
        decode(cache, prompts, network=Seeing(engines()[0], attention))
    assert "exported without --in-place" in caught.value.hint


@pytest.fixture(scope="module")
def models():
    """The built-in verifier: PyTorch, the ordinary bundle, the one written in place."""
    form = {"opset": 24, "cache_slots": 96}
    bundles = (bundle("builtin/verifier"), bundle("builtin/verifier", **form))
    return load_model("builtin/verifier", device="cpu"), *map(opened, bundles)


@pytest.mark.parametrize("preset", [*PARALLEL, *QUOTA])
def test_presets_decode_the_same_tokens(models, preset):
    """On the built-in verifier, as on PyTorch and on an ordinary bundle; a token in each step."""
    slowly = ["pipeline.transfer.threshold=1.0"] if preset in PARALLEL else []
    document = load_spec(preset, ["gen_length=32", "pipeline.blocks.length=8", *slowly])
    prompts = ("Tom has 12 apples. He buys 7 more. How many has he now?",)
    eager, ordinary, in_place = (decoded(model, document, prompts) for model in models)
    assert eager == ordinary == in_place


def test_a_cache_that_is_too_small_is_refused_before_the_run(tmp_path):
    """ONNX alone says nothing about what is written beyond the end."""
    with pytest.raises(EngineError, match="needs 47 cache slots, but the cache") as caught:
        decode(CASES["dual"][0], [[5] * 35], network=engines()[0])
    assert "--in-place 47" in caught.value.hint
    ids_BQ, past, given = window(engines()[0], 1, 5, (SLOTS - 5,))
    given["positions_BQ"] = given["positions_BQ"] + 1
    with pytest.raises(EngineError, match="needs 41 cache slots"):
        feed(engines()[0], ids_BQ, Need(), past=past, **given)
    arguments = ("--model", bundle("tiny", **FORM), "--device", "cpu", "--set", "gen_length=64")
    command = ("generate", "--engine", "onnxruntime", *arguments, "-p", "fast-dllm-dual", "2 4 6")
    found = CliRunner().invoke(main, [str(each) for each in command])
    assert 2 == found.exit_code, found.output
    assert "cache slots" in found.stderr
    assert "--in-place" in found.stderr


def test_the_form_is_stated(tmp_path):
    """In the manifest and by `inspect`; an ordinary bundle reads its cache."""
    folder = bundle("tiny", **FORM)
    assert SLOTS == read_manifest(folder).graphs.cache_slots
    assert SLOTS == opened(folder).network.info.cache_slots
    assert SLOTS == json.loads((folder / MANIFEST).read_text())["graphs"]["cache_slots"]
    for each, words in ((folder, "written in place, 40 slots"), (bundle("tiny"), "any number of")):
        found = CliRunner().invoke(main, ["bundle", "inspect", str(each)])
        assert words in found.stdout


def test_parity_compares_what_was_written(tmp_path):
    """Every call on a cache of its own, then the bundle alone."""
    folder = shutil.copytree(bundle("tiny", **FORM), tmp_path / "copy")
    document = load_spec("fast-dllm-dual", ["gen_length=16", "pipeline.blocks.length=8"])
    found = compare_bundle(folder, document, ("sort: 7 3 9 1", "2 4 6"), model=source("tiny"))
    assert ("identical", 2) == (found.verdict, found.texts)
    assert 0 < found.errors["fresh_keys"] < 1e-3


@pytest.mark.slow
def test_two_exports_are_equal_byte_for_byte(tmp_path):
    """As in the ordinary form."""
    first, second = bundle("tiny", **FORM), make("tiny", tmp_path / "again", **FORM)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"opset": 20}, "opset 20 has no operator"),
        ({"opset": 23}, "opset 23 has no operator"),
        ({"opset": 24, "buckets": Buckets(fed=(32,))}, "passes cannot be padded"),
        ({"opset": 24, "buckets": Buckets(slots=(64,))}, "has one size"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words):
    """Before anything is traced."""
    with pytest.raises(RequestError, match=words) as caught:
        ExportOptions(cache_slots=SLOTS, **options)
    assert "leave" in caught.value.hint


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ("y = Identity(past_keys)", "Identity reads past_keys"),
        ("k = Gather<axis=1>(past_keys, zero)", "in another way than one by one"),
        ("k = Gather(past_keys, zero) y = Concat<axis=2>(k, k)", "orders its keys"),
        ("m = Concat<axis=3>(mask_past, mask_new) y = Identity(m)", "no layer reads keys.0"),
    ],
)
def test_graphs_of_another_kind_are_refused(nodes, words):
    """Rather than written wrongly."""
    cache = "float[1, rows, 2, slots, 4]"
    text = f"""<ir_version: 10, opset_import: ["": 24]>
    g (int32[rows, fed] ids, bool[rows, 1, fed, slots] mask_past, bool[rows, 1, fed, fed] mask_new,
       {cache} past_keys, {cache} past_values) => (float[1] y) <int64 zero = {{0}}>
    {{ {nodes} }}"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    with pytest.raises(EngineError, match=words) as caught:
        write_in_place(model, SLOTS)
    assert "without --in-place" in caught.value.hint
