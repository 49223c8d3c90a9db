"""A family from outside: the example of the how-to page loads a checkpoint it alone knows."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from dlmkit.engines.torch_engine import TorchEngine
from dlmkit.models.config import Config
from dlmkit.models.decoder import Decoder
from dlmkit.models.loading import load_model
from dlmkit.plugins import component_problems
from tests.engines.calls import logits
from tests.models.checkpoints import folder, write_checkpoint

EXAMPLE = Path(__file__).parents[2] / "docs/examples/plainmask_family.py"
CONFIG = {
    "architectures": ["PlainmaskForMaskedDiffusion"],
    "head_dim": 8,
    "hidden_size": 16,
    "intermediate_size": 24,
    "mask_token_id": 31,
    "eos_token_id": 2,
    "max_position_embeddings": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "vocab_size": 32,
}


@pytest.fixture(scope="module")
def family():
    (found,) = runpy.run_path(str(EXAMPLE))["dlmkit_components"]()
    return found


def test_the_example_may_be_registered(family):
    """It breaks none of the rules for components."""
    assert [] == list(component_problems(family))


def test_the_example_loads_a_checkpoint(family, tmp_path):
    """Config, names and norms all lead to a network that answers."""
    arch = family().arch(Config(CONFIG))
    names = family().names(arch)
    torch.manual_seed(0)
    tensors = {
        names.to_source(name): torch.randn(value.shape)
        for name, value in Decoder(arch).named_parameters()
    }
    tensors["backbone.rotary.inv_freq"] = torch.zeros(4)
    write_checkpoint(tmp_path, CONFIG, tensors, shards=2)
    model = load_model(str(tmp_path), engine=TorchEngine(), families=(family,), device="cpu")
    assert (31, (2,)) == (model.network.info.mask_id, model.network.info.eos_ids)
    assert torch.isfinite(logits(model.network, torch.tensor([[1, 2, 31]]))).all()


@pytest.mark.parametrize("name", ["llada", "dream", "qwen2_ar"])
def test_installed_families_are_found_without_being_named(name):
    """Registered families and the registered engine are the defaults."""
    model = load_model(str(folder(name)), device="cpu")
    assert name.split("_")[0] == model.provenance.family
    assert "torch" == model.network.info.engine
