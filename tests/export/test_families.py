"""Every family's network gives on ONNX Runtime what it gives on PyTorch.

Legend: B rows, Q fed positions, C cache slots.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dlmkit.engine import LoadOptions
from dlmkit.errors import EngineError, ModelError
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit_export.bundle.make import make_bundle
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_strategies.families import FAMILIES, Bd3Lm, Huginn, Llada, Looped, Sedd
from tests.engines.calls import feed
from tests.export.compiled import make, network, opened
from tests.models.checkpoints import loaded
from tests.models.huginn_model import write_huginn_model
from tests.models.looped_model import write_looped_model

CLOSE = {"atol": 3e-4, "rtol": 1e-4}
PACK = Need(top=3, entropy=True, current=True)
USUAL = ("llada_gqa_tied", "llada2_moe", "bd3lm_adaln")
OTHERS = (
    "bd3lm",
    "dream",
    "fast_dllm_v2",
    "llada",
    "llada_moe",
    "llama_ar",
    "nemotron_labs_diffusion",
    "qwen2_ar",
    "qwen2_ar_tied",
    "qwen3_ar",
    "qwen3_moe_ar",
    "sdar",
    "wedlm",
)
SHAPES = {"full": (2, 33, 0), "one": (1, 1, 0), "block": (2, 9, 7), "long cache": (1, 8, 24)}


def calls(reference, rows, fed, slots):
    """Random tokens at shuffled positions under ragged masks."""
    torch.manual_seed(fed)
    ids_BQ = torch.randint(0, 200, (rows, fed))
    order = torch.stack([torch.randperm(slots + fed) for _ in range(rows)])
    given = {"positions_BQ": order[:, slots:], "current_BS": ids_BQ}
    given["mask_new_B1QQ"] = torch.rand(rows, 1, fed, fed) > 0.5
    given["mask_new_B1QQ"] |= torch.eye(fed, dtype=torch.bool)
    if slots:
        old_BC = torch.randint(0, 200, (rows, slots))
        given["past"] = feed(reference, old_BC, positions_BQ=order[:, :slots]).fresh
        given["mask_past_B1QC"] = torch.rand(rows, 1, fed, slots) > 0.3
    return ids_BQ, given


def compare(name, opset):
    agree(loaded(name, dtype="float32").network, network(name, opset=opset))


def agree(reference, compiled):
    for shape in SHAPES.values():
        ids_BQ, given = calls(reference, *shape)
        expected, found = (feed(each, ids_BQ, **given) for each in (reference, compiled))
        assert_close(expected.logits_BSV, found.logits_BSV, **CLOSE)
        assert_close(expected.fresh.keys_YBGCE, found.fresh.keys_YBGCE, **CLOSE)
        assert_close(expected.fresh.values_YBGCE, found.fresh.values_YBGCE, **CLOSE)
        expected, found = (feed(each, ids_BQ, PACK, **given).pack for each in (reference, compiled))
        assert torch.equal(expected.top_ids_BPK, found.top_ids_BPK)
        for statistic in ("top_logp_BPK", "lse_BP", "entropy_BP", "current_logp_BP"):
            assert_close(getattr(expected, statistic), getattr(found, statistic), **CLOSE)


@pytest.mark.parametrize("name", USUAL)
def test_the_call_is_the_same(name):
    """Full and block passes, one row and several, any positions, ragged masks."""
    compare(name, 23)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_call_is_the_same_for_all_families(name):
    """The same for the rest of them."""
    compare(name, 23)


@pytest.mark.parametrize("name", ["llada_gqa_tied"])
def test_the_decomposed_form_is_the_same(name):
    """Shared key heads are folded, not copied."""
    compare(name, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bd3lm_adaln", "llada", "llada2_moe", "sdar"])
def test_the_decomposed_form_is_the_same_for_other_families(name):
    """The same for other kinds of networks."""
    compare(name, 20)


@pytest.mark.parametrize("write", [write_looped_model, write_huginn_model])
def test_looped_networks_run_at_full_depth(write, tmp_path):
    """The core is unrolled; latents cannot be handed over."""
    checkpoint = str(write(tmp_path))
    make_bundle(checkpoint, tmp_path / "bundle", ExportOptions(), LoadOptions(dtype="float32"))
    reference, compiled = load_model(checkpoint, dtype="float32"), opened(tmp_path / "bundle")
    assert "latents" in reference.network.info.capabilities - compiled.network.info.capabilities
    agree(reference.network, compiled.network)


@pytest.mark.parametrize("name", ["sedd", "mdlm"])
def test_networks_that_are_told_the_noise_are_refused(name, tmp_path):
    """Without an input for it, a graph would answer as for another level."""
    with pytest.raises(EngineError, match="by the noise level of each row") as caught:
        make(name, tmp_path / "bundle")
    assert "--engine torch" in caught.value.hint


def test_networks_of_other_classes_are_refused(tmp_path):
    """DiffusionGemma runs in transformers' own class."""
    with pytest.raises(ModelError, match="does not fit the shared decoder"):
        make("diffusion_gemma", tmp_path / "bundle")


def test_every_kind_of_network_is_exported_or_refused():
    """A family that builds a network of its own needs a checkpoint in the lists above."""
    known = {each.network for each in (Llada, Bd3Lm, Sedd, Looped, Huginn)}
    assert known == {each.network for each in FAMILIES}
