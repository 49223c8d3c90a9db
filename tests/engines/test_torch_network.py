"""The torch engine: slices of the head, half precision, compilation, memory, metadata."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch.testing import assert_close

from dlmkit.engines import memory
from dlmkit.engines.torch_engine import TorchEngine
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.errors import EngineError
from dlmkit.models.free_memory import is_out_of_memory
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit_strategies.families import FAMILIES
from tests.engines.calls import LOGITS, feed, logits
from tests.models.checkpoints import folder, loaded, recorded

EVERYTHING = Need(top=3, entropy=True, current=True, logits=True)


@pytest.fixture(scope="module")
def network():
    return loaded("llada", dtype="float32").network


@pytest.fixture(scope="module")
def ids_BQ():
    return recorded("llada")["input_ids_batch"]


def test_slices_of_the_head_do_not_show(network, ids_BQ, monkeypatch):
    """Scoring a few rows at a time gives the same pack and logits, in the same order."""
    at_once = feed(network, ids_BQ, EVERYTHING, current_BS=ids_BQ)
    monkeypatch.setattr(memory, "_HEAD_BYTES", 4 * 2 * network.info.vocab_size * 5)
    sliced = feed(network, ids_BQ, EVERYTHING, current_BS=ids_BQ)
    assert_close(at_once.logits_BSV, sliced.logits_BSV)
    for name in ("top_ids_BPK", "top_logp_BPK", "lse_BP", "entropy_BP", "current_logp_BP"):
        assert_close(getattr(at_once.pack, name), getattr(sliced.pack, name))


def test_slices_bound_the_head_for_large_vocabularies():
    """A thousand positions over 126464 tokens are scored about 530 at a time."""
    rows = memory.head_rows_at_once(1, 126464)
    assert 500 < rows < 560
    assert memory.head_rows_at_once(10_000, 126464) == 1


def test_wanting_no_row_is_allowed(network, ids_BQ):
    """A pass that only fills a cache."""
    out = feed(network, ids_BQ, want_BS=torch.empty(2, 0, dtype=torch.int64))
    assert (2, 0, network.info.vocab_size) == tuple(out.logits_BSV.shape)
    assert (2, 0, 1) == tuple(out.pack.top_ids_BPK.shape)


def test_logits_stay_behind_unless_needed(network, ids_BQ):
    """The pack is the default output."""
    assert feed(network, ids_BQ, Need()).logits_BSV is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close_and_statistics_stay_wide(ids_BQ, dtype):
    """Keys in the network's dtype, logits in float32, near the float32 result."""
    half = loaded("llada", dtype=dtype).network
    out = feed(half, ids_BQ)
    assert torch.float32 == out.logits_BSV.dtype == out.pack.lse_BP.dtype
    assert getattr(torch, dtype) == out.fresh.keys_YBGCE.dtype
    exact_BQV = logits(loaded("llada", dtype="float32").network, ids_BQ)
    assert (out.logits_BSV - exact_BQV).abs().mean() < 0.25
    assert (out.logits_BSV.argmax(-1) == exact_BQV.argmax(-1)).float().mean() > 0.9


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_equals_eager(ids_BQ):
    """With and without cache, at two lengths."""
    engine = TorchEngine(compile=True)
    compiled = load_model(
        str(folder("llada")), engine=engine, families=FAMILIES, device="cpu", dtype="float32"
    ).network
    eager = TorchNetwork(compiled.decoder, compiled.info)
    for count in (33, 20):
        ids = ids_BQ[:, :count]
        assert_close(logits(eager, ids), logits(compiled, ids), atol=1e-4, rtol=1e-5)
        past = feed(eager, ids[:, :8]).fresh
        given = {
            "past": past,
            "positions_BQ": torch.arange(8, count).expand(2, -1),
            "mask_past_B1QC": torch.ones(2, 1, count - 8, 8, dtype=torch.bool),
        }
        rest = ids[:, 8:]
        expected = logits(eager, rest, **given)
        assert_close(expected, logits(compiled, rest, **given), atol=1e-4, rtol=1e-5)


def test_out_of_memory_says_what_was_asked_and_what_would_fit(network, ids_BQ, monkeypatch):
    """A failed allocation becomes an error with sizes and a next step."""

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    broken = TorchNetwork(network.decoder, network.info)
    monkeypatch.setattr(broken, "_trunk", fail)
    with pytest.raises(EngineError, match="2 rows x 33 fed positions, 0 cached, 33 wanted") as one:
        feed(broken, ids_BQ)
    assert "about 1 rows of this size would fit" in one.value.hint
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10)
    with pytest.raises(EngineError) as none:
        feed(broken, ids_BQ)
    assert "not even one row fits" in none.value.hint


def test_a_failed_allocation_on_the_cpu_is_recognised(network):
    """Torch reports it as a plain RuntimeError."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert is_out_of_memory(caught.value)


def test_other_failures_are_not_hidden(network, ids_BQ):
    """A mistake of ours keeps its own error."""
    with pytest.raises(RuntimeError, match="size"):
        feed(network, ids_BQ, mask_new_B1QQ=torch.ones(2, 1, 3, 3, dtype=torch.bool))


def test_info_states_the_facts():
    """Sizes from the config, shift from the family, ids with their provenance."""
    model = loaded("dream", dtype="float32")
    info = model.network.info
    assert (512, 508, (500,), 256) == (
        info.vocab_size,
        info.mask_id,
        info.eos_ids,
        info.max_positions,
    )
    assert (1, 2, 2, 16, "torch") == (
        info.logit_shift,
        info.layers,
        info.kv_heads,
        info.head_dim,
        info.engine,
    )
    assert model.tokenizer is None
    provenance = model.provenance
    assert ("dream", "DreamModel") == (provenance.family, provenance.architecture)
    assert provenance.special_ids.provenance["mask_id"].endswith("config.json: mask_token_id")
    assert "given by the user" == provenance.dtype_reason


def test_the_user_may_overrule_the_mask_id():
    """And the record says so."""
    model = loaded("dream", mask_id=7)
    assert 7 == model.network.info.mask_id
    assert "given by the user" == model.provenance.special_ids.provenance["mask_id"]


def test_unknown_engines_are_listed():
    """The hint leads to `doctor`."""
    with pytest.raises(EngineError, match="no engine is called 'tpu'") as caught:
        load_model(str(folder("llada")), engine="tpu")
    assert "dlmkit doctor" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "bound"), [("float32", 1e-3), ("bfloat16", 2.0), ("float16", 0.3)]
)
@pytest.mark.parametrize("name", ["llada", "llada_gqa_tied", "dream"])
def test_cuda_agrees_with_the_reference(name, dtype, bound):
    """Every format on the device stays near the recorded float32 logits."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    network = loaded(name, device="cuda", dtype=dtype).network
    arrays = recorded(name)
    found_BQV = logits(network, arrays["input_ids_batch"].cuda()).cpu()
    assert (arrays["logits_batch"] - found_BQV).abs().max() < bound


@pytest.mark.gpu
def test_cuda_reports_out_of_memory():
    """A batch that no device holds."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    network = loaded("llada", device="cuda", dtype="float32").network
    ids_BQ = torch.zeros(1, 256, dtype=torch.int64, device="cuda").expand(2**22, -1)
    with pytest.raises(EngineError, match="out of memory on cuda"):
        feed(network, ids_BQ, LOGITS)
