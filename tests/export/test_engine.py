"""The ONNX Runtime engine: what it accepts, what it refuses, and what it must not copy."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import metadata

import attrs
import onnx
import onnxruntime
import pytest
import torch
from torch.testing import assert_close

from dlmkit.engine import LoadOptions, find_engine
from dlmkit.errors import EngineError, ModelError, RequestError
from dlmkit.key_values.store import Store
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.network import KeyValues
from dlmkit_export.bundle.buckets import Buckets
from dlmkit_export.bundle.manifest import MANIFEST, read_manifest
from dlmkit_export.bundle.verify import record_of
from dlmkit_export.runtime import builtin_bundles, provider
from dlmkit_export.runtime.bound import Bound
from dlmkit_export.runtime.engine import OnnxRuntimeEngine
from tests.engines.calls import feed
from tests.export.compiled import bundle, network, opened, source

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
EVERYTHING = Need(top=3, entropy=True, current=True)


@pytest.fixture
def ids_BQ():
    return torch.randint(0, 200, (2, 12), generator=torch.Generator().manual_seed(0))


def changed(tmp_path, **fields):
    """The tiny bundle with other fields in its manifest."""
    folder = shutil.copytree(bundle("tiny"), tmp_path / "changed")
    attrs.evolve(read_manifest(folder), **fields).write(folder)
    return folder


def test_a_bundle_brings_everything_that_decoding_needs():
    """Ids, tokenizer, chat template, family and context limit; the checkpoint is not read."""
    model = opened(bundle("tiny"))
    plain = load_model(source("tiny"))
    compiled, eager = model.network.info, plain.network.info
    for field in ("vocab_size", "mask_id", "eos_ids", "eot_ids", "max_positions", "attention"):
        assert getattr(eager, field) == getattr(compiled, field)
    assert eager.parameters == compiled.parameters
    assert ("onnxruntime", "llada") == (compiled.engine, model.provenance.family)
    text = "2 4 6 <mask> 10"
    assert plain.tokenizer.encode(text) == model.tokenizer.encode(text)
    assert plain.tokenizer.declared_mask[0] == model.tokenizer.declared_mask[0]
    turn = [{"role": "user", "content": "sort: 3 1 2"}]
    assert plain.tokenizer.encode_chat(turn) == model.tokenizer.encode_chat(turn)


def test_it_computes_on_threads_of_its_own():
    """So that PyTorch leaves it the cores while a decode runs."""
    assert opened(bundle("tiny")).network.info.own_threads


def test_the_mask_token_may_be_overruled():
    """As on every engine, with the record saying so."""
    model = opened(bundle("tiny"), mask_id=7)
    assert 7 == model.network.info.mask_id
    assert "given by the user" == model.provenance.special_ids.provenance["mask_id"]


def test_only_what_was_asked_for_comes_back(ids_BQ):
    """The graph computes all statistics; a strategy sees those it declared."""
    pack = feed(network("tiny"), ids_BQ, Need()).pack
    assert (2, 12, 1) == tuple(pack.top_ids_BPK.shape)
    assert pack.entropy_BP is None
    assert pack.current_logp_BP is None


def test_tokens_that_are_written_in_place_are_fed(ids_BQ):
    """A pass never answers for the tokens of the pass before."""
    written_BQ = ids_BQ.clone()
    before = feed(network("tiny"), written_BQ, Need()).pack
    written_BQ[:, 1] += 1
    after = feed(network("tiny"), written_BQ, Need()).pack
    anew = feed(network("tiny"), written_BQ.clone(), Need()).pack
    assert torch.equal(anew.lse_BP, after.lse_BP)
    assert not torch.equal(before.lse_BP, after.lse_BP)


def test_more_candidates_than_the_pack_has_come_from_logits(ids_BQ):
    """The caller sees no difference."""
    pack = feed(network("tiny"), ids_BQ, Need(top=20)).pack
    assert (2, 12, 20) == tuple(pack.top_ids_BPK.shape)
    few = feed(network("tiny"), ids_BQ, Need(top=8)).pack
    assert torch.equal(few.top_ids_BPK, pack.top_ids_BPK[..., :8])


def test_a_bundle_without_logits_says_how_to_get_them(tmp_path, ids_BQ):
    """By their flag, or by more candidates where that suffices."""
    graphs = attrs.evolve(read_manifest(bundle("tiny")).graphs, logits=None)
    bare = opened(changed(tmp_path, graphs=graphs)).network
    assert frozenset() == bare.info.capabilities
    with pytest.raises(EngineError, match="needs full logits") as caught:
        feed(bare, ids_BQ, Need(logits=True))
    assert "--no-logits" in caught.value.hint
    with pytest.raises(EngineError, match="needs 9 candidates") as caught:
        feed(bare, ids_BQ, Need(top=9))
    assert "--score-pack 9" in caught.value.hint


def test_wanting_no_row_is_allowed(ids_BQ):
    """A pass that only fills a cache."""
    out = feed(network("tiny"), ids_BQ, Need(), want_BS=torch.empty(2, 0, dtype=torch.int64))
    assert (2, 0, 1) == tuple(out.pack.top_ids_BPK.shape)
    assert 12 == out.fresh.keys_YBGCE.shape[3]


def test_buckets_do_not_show(tmp_path, ids_BQ):
    """Padded queries, slots and wanted rows change nothing."""
    buckets = Buckets(fed=(8, 16), slots=(16,), wanted=(4, 16))
    padded, exact = opened(changed(tmp_path, buckets=buckets)).network, network("tiny")
    given = {"want_BS": torch.tensor([[0, 3, 4], [2, 1, 1]]), "current_BS": ids_BQ[:, :3]}
    past = feed(exact, ids_BQ).fresh
    given["past"], given["positions_BQ"] = past, torch.arange(12, 17).expand(2, -1)
    given["mask_past_B1QC"] = torch.rand(2, 1, 5, 12) > 0.5
    expected, found = (feed(each, ids_BQ[:, :5], EVERYTHING, **given) for each in (exact, padded))
    assert_close(attrs.astuple(expected.pack), attrs.astuple(found.pack), **CLOSE)
    assert_close(expected.fresh.keys_YBGCE, found.fresh.keys_YBGCE, **CLOSE)


@pytest.mark.parametrize(
    ("buckets", "needs"),
    [
        (Buckets(fed=(4, 8)), "12 fed positions"),
        (Buckets(wanted=(8,)), "12 wanted rows"),
        (Buckets(slots=(8,)), "12 cache slots"),
    ],
)
def test_a_bucket_that_is_too_small_says_which_to_add(tmp_path, ids_BQ, buckets, needs):
    """With the option to export with."""
    small = opened(changed(tmp_path, buckets=buckets)).network
    past = feed(network("tiny"), ids_BQ).fresh
    seen = {"past": past, "mask_past_B1QC": torch.ones(2, 1, 12, 12, dtype=torch.bool)}
    with pytest.raises(EngineError, match=needs) as caught:
        feed(small, ids_BQ, Need(), **seen)
    assert ",12" in caught.value.hint
    assert "--buckets" in caught.value.hint


@pytest.fixture
def block(ids_BQ):
    """A pass over the last two positions of a store, and the store."""
    store = Store.allocate(network("tiny").info, 2, 10)
    store.room.keys_YBGCE.normal_(generator=torch.Generator().manual_seed(1))
    seen = {
        "positions_BQ": torch.tensor([[8, 9]] * 2),
        "mask_past_B1QC": (torch.arange(10) < 8).expand(2, 1, 2, 10),
    }
    return store, lambda past: feed(network("tiny"), ids_BQ[:, :2], EVERYTHING, past=past, **seen)


def test_a_store_is_read_where_it_lies(block, monkeypatch):
    """Its spare slot is part of what the graph gets, hidden by the mask; nothing is copied."""
    store, run = block
    places = []
    bind = Bound._bind
    monkeypatch.setattr(
        Bound, "_bind", lambda *given: (places.append(given[3].data_ptr()), bind(*given))
    )
    run(store.content)
    assert store.room.keys_YBGCE.data_ptr() in places
    assert store.room.values_YBGCE.data_ptr() in places


def test_keys_and_values_may_lie_anywhere(block):
    """What is a part of something else is copied, and nothing else is read."""
    store, run = block
    expected = run(store.content).pack
    for shift in (0, 3):
        parts = []
        for each in (store.content.keys_YBGCE, store.content.values_YBGCE):
            wide = torch.nn.functional.pad(each, (0, 0, shift, 1), value=9e4)
            parts.append(wide[:, :, :, shift : shift + 10])
        found = run(KeyValues(keys_YBGCE=parts[0], values_YBGCE=parts[1])).pack
        assert_close(expected.top_logp_BPK, found.top_logp_BPK, **CLOSE)


def test_checkpoints_have_to_be_compiled_first(tmp_path):
    """The error holds the command."""
    with pytest.raises(EngineError, match="is not a bundle") as caught:
        opened(tmp_path)
    assert f"dlmkit export --model {tmp_path} -o" in caught.value.hint
    with pytest.raises(EngineError, match="there is no bundle"):
        opened(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "options", [{"dtype": "float16"}, {"revision": "main"}], ids=["dtype", "revision"]
)
def test_what_is_compiled_in_cannot_be_chosen_any_more(options):
    """Asking for it is an error, not ignored."""
    with pytest.raises(EngineError, match="cannot be chosen any more"):
        opened(bundle("tiny"), **options)


def test_a_missing_provider_is_an_error_and_never_the_cpu(monkeypatch):
    """A slow success would be taken for the fast one."""
    monkeypatch.setattr(provider, "choose_device", torch.device)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match="cannot use cuda") as caught:
        opened(bundle("tiny"), device="cuda")
    assert "dlmkit[gpu]" in caught.value.hint


def test_a_provider_that_falls_back_is_found_out(monkeypatch, ids_BQ):
    """ONNX Runtime lists providers that then do not start; the session is asked."""
    used = onnxruntime.InferenceSession.get_providers
    monkeypatch.setattr(
        onnxruntime.InferenceSession, "get_providers", lambda self: ["Other", *used(self)]
    )
    with pytest.raises(EngineError, match="would run on Other instead of CPUExecutionProvider"):
        feed(opened(bundle("tiny")).network, ids_BQ)


def test_two_onnxruntime_packages_are_refused(monkeypatch):
    """They overwrite each other; the error says what to do."""
    monkeypatch.setattr(metadata, "version", lambda name: "1")
    with pytest.raises(EngineError, match="are both installed"):
        opened(bundle("tiny"))


@pytest.mark.parametrize("fault", ["operator", "opset"])
def test_a_graph_that_cannot_run_here_is_one_sentence(tmp_path, ids_BQ, fault):
    """An operator or opset that this ONNX Runtime does not know."""
    folder = shutil.copytree(bundle("tiny"), tmp_path / "copy")
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    if fault == "operator":
        model.graph.node[0].op_type = "NoSuchOperator"
    else:
        model.opset_import[0].version = 999
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    fields = json.loads((folder / MANIFEST).read_text())
    fields["files"]["model.onnx"] = attrs.asdict(record_of(folder / "model.onnx"))
    (folder / MANIFEST).write_text(json.dumps(fields))
    with pytest.raises(EngineError, match=r"cannot load model.onnx") as caught:
        feed(opened(folder).network, ids_BQ, Need())
    assert "--opset 20" in caught.value.hint


def test_built_in_checkpoints_are_compiled_once(tmp_path, monkeypatch):
    """Into the user's cache, under a name that depends on the weights."""
    monkeypatch.setattr(builtin_bundles, "cache_folder", lambda: tmp_path)
    made = []

    def make(reference, folder, *_):
        made.append(reference)
        shutil.copytree(bundle("tiny"), folder)

    monkeypatch.setattr("dlmkit_export.bundle.make.make_bundle", make)
    for _ in range(2):
        model = find_engine("onnxruntime").load("builtin/drafter", LoadOptions(device="cpu"))
    assert ["builtin/drafter"] == made
    assert model.provenance.path.name.startswith("drafter-")
    assert "builtin/drafter" == model.provenance.reference


def test_unknown_built_in_checkpoints_are_named():
    """As on every engine."""
    with pytest.raises(Exception, match="no built-in checkpoint 'verifyer'"):
        OnnxRuntimeEngine().load("builtin/verifyer", LoadOptions(device="cpu"))


def test_a_spoiled_bundle_is_not_opened(tmp_path):
    """Digests are compared on every load."""
    folder = shutil.copytree(bundle("tiny"), tmp_path / "copy")
    with (folder / "weights.bin").open("r+b") as file:
        file.write(b"\1\2\3")
    with pytest.raises(ModelError, match="digest differs"):
        opened(folder)


def test_a_spoiled_bundle_of_a_built_in_model_is_to_be_deleted(tmp_path, monkeypatch):
    """The next run makes it again; nobody has another copy."""
    monkeypatch.setattr(builtin_bundles, "builtin_bundle", lambda *_: tmp_path)
    shutil.copytree(bundle("tiny"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ModelError, match="truncated") as caught:
        OnnxRuntimeEngine().load("builtin/drafter", LoadOptions(device="cpu"))
    assert f"delete {tmp_path}" in caught.value.hint


@pytest.mark.parametrize("error", [OSError("not empty"), RequestError("exists already")])
def test_two_first_uses_at_once_share_what_is_made(tmp_path, monkeypatch, error):
    """Whoever comes second takes the bundle that has appeared meanwhile."""
    monkeypatch.setattr(builtin_bundles, "cache_folder", lambda: tmp_path)
    quicker = [True, False]

    def make(_, folder, *__):
        if quicker.pop(0):
            shutil.copytree(bundle("tiny"), folder)
        raise error

    monkeypatch.setattr("dlmkit_export.bundle.make.make_bundle", make)
    made = builtin_bundles.builtin_bundle("builtin/drafter", LoadOptions())
    assert (made / MANIFEST).is_file()
    shutil.rmtree(made)
    with pytest.raises(type(error)):
        builtin_bundles.builtin_bundle("builtin/drafter", LoadOptions())


def test_a_missing_onnxruntime_says_what_to_install(monkeypatch):
    """And that PyTorch would do."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="cannot be imported") as caught:
        opened(bundle("tiny"))
    assert "--engine torch" in caught.value.hint


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(ids_BQ):
    """Through the provider, on PyTorch's stream and memory."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    found = feed(
        opened(bundle("tiny"), device="cuda").network,
        ids_BQ.cuda(),
        EVERYTHING,
        current_BS=ids_BQ.cuda(),
    )
    expected = feed(network("tiny"), ids_BQ, EVERYTHING, current_BS=ids_BQ)
    assert_close(expected.pack.lse_BP, found.pack.lse_BP.cpu(), **CLOSE)
    assert torch.equal(expected.pack.top_ids_BPK, found.pack.top_ids_BPK.cpu())
