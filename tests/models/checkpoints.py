"""The reference checkpoints and their recorded outputs, read in place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dlmkit.engines.torch_engine import TorchEngine
from dlmkit.models.config import Config
from dlmkit.models.decoder import Decoder
from dlmkit.models.loading import load_model
from dlmkit_strategies.families import FAMILIES, Llada, Llada2

if TYPE_CHECKING:
    from dlmkit.engine import LoadedModel

FIXTURES = Path(__file__).parents[2].parent / "shared/fixtures"
FOLDERS = ("llada", "llada_gqa_tied", "dream")
CAUSAL = ("qwen2_ar", "qwen2_ar_tied", "qwen3_ar", "qwen3_moe_ar", "llama_ar", "wedlm")
STATED = {"llada2_moe": Llada2(block=8)}
BLOCK_CAUSAL = ("sdar", "fast_dllm_v2", "llada2_moe")


def folder(name: str) -> Path:
    path = FIXTURES / name
    if not path.is_dir():
        pytest.skip(f"reference checkpoint {path} is not available")
    return path


def recorded(name: str, file: str = "logits.npz") -> dict[str, Tensor]:
    with np.load(folder(name) / file) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def loaded(name: str, **options) -> LoadedModel:
    options.setdefault("family", STATED.get(name))
    return load_folder(folder(name), **options)


def tiny_config(**changes) -> dict:
    """LLaDA's `config.json` for a network of a few thousand weights."""
    fields = json.loads((folder("llada") / "config.json").read_text())
    small = {"d_model": 32, "mlp_hidden_size": 48, "embedding_size": 64, "vocab_size": 60}
    ids = {"mask_token_id": 63, "eos_token_id": 50, "pad_token_id": 50}
    return {**fields, **small, **ids, **changes}


def tiny_tensors(config: dict) -> dict[str, Tensor]:
    """Random weights under LLaDA's names."""
    family = Llada()
    arch = family.describe(Config(config), ("model.transformer.ff_out.weight",))
    torch.manual_seed(0)
    return {
        family.names(arch).to_source(name): torch.rand_like(value) - 0.5
        for name, value in Decoder(arch).named_parameters()
    }


def write_checkpoint(path: Path, config: dict, tensors: dict[str, Tensor], shards: int = 1) -> Path:
    """Write a checkpoint folder, in one file or with an index over several."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(tensors, path / "model.safetensors")
        return path
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(tensors.items())[shard::shards])
        save_file(part, path / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def load_folder(path: Path, **options) -> LoadedModel:
    options.setdefault("device", "cpu")
    return load_model(str(path), engine=TorchEngine(), families=FAMILIES, **options)
