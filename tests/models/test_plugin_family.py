"""A family from outside: the example of the how-to page loads a checkpoint it alone knows."""

from __future__ import annotations

import runpy
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dlmkit.engines.torch_engine import TorchEngine
from dlmkit.errors import ModelError
from dlmkit.models.config import Config
from dlmkit.models.decoder import Decoder
from dlmkit.models.loading import load_model
from dlmkit.plugins import component_problems, hookimpl, load_plugins
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


@pytest.fixture
def checkpoint(family, tmp_path):
    """A folder in the family's own layout, in two files."""
    arch = family().arch(Config(CONFIG))
    names = family().names(arch)
    torch.manual_seed(0)
    tensors = {
        names.to_source(name): torch.randn(value.shape)
        for name, value in Decoder(arch).named_parameters()
    }
    tensors["backbone.rotary.inv_freq"] = torch.zeros(4)
    return write_checkpoint(tmp_path, CONFIG, tensors, shards=2)


def test_the_example_loads_a_checkpoint(family, checkpoint):
    """Config, names and norms all lead to a network that answers."""
    model = load_model(str(checkpoint), engine=TorchEngine(), families=(family,), device="cpu")
    assert (31, (2,)) == (model.network.info.mask_id, model.network.info.eos_ids)
    assert torch.isfinite(logits(model.network, torch.tensor([[1, 2, 31]]))).all()


def test_a_third_party_registers_a_family(family, checkpoint, monkeypatch):
    """Once its plugin is installed, its checkpoints are recognised; before, they are refused."""
    with pytest.raises(ModelError, match="PlainmaskForMaskedDiffusion"):
        load_model(str(checkpoint), device="cpu")
    plugins = load_plugins(metadata.entry_points(group="dlmkit"))
    module = SimpleNamespace(dlmkit_components=hookimpl(lambda: [family]))
    plugins.add(module, "plainmask", "plainmask", "1.0")
    assert not plugins.failures
    monkeypatch.setattr("dlmkit.plugins.get_plugins", lambda: plugins)
    model = load_model(str(checkpoint), device="cpu")
    assert family.name == model.provenance.family
    assert model.network.info.parameters > 0


@pytest.mark.parametrize("name", ["llada", "dream", "qwen2_ar"])
def test_installed_families_are_found_without_being_named(name):
    """Registered families and the registered engine are the defaults."""
    model = load_model(str(folder(name)), device="cpu")
    assert name.split("_")[0] == model.provenance.family
    assert "torch" == model.network.info.engine
