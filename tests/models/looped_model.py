"""A small looped checkpoint of random weights, in the family's own layout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from dlmkit.builtin.tokenizer import EOS, builtin_tokenizer, special_id, write_tokenizer
from dlmkit.models.config import Config
from dlmkit_strategies.families import Looped

if TYPE_CHECKING:
    from pathlib import Path


def config(**changes):
    tokenizer = builtin_tokenizer()
    fields = {
        "architectures": ["LoopedForCausalLM"],
        "eos_token_id": special_id(tokenizer, EOS),
        "hidden_size": 16,
        "intermediate_size": 24,
        "max_position_embeddings": 128,
        "num_attention_heads": 2,
        "num_hidden_layers": 4,
        "num_prelude_layers": 1,
        "num_coda_layers": 1,
        "recurrences": 6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": tokenizer.get_vocab_size(),
    }
    return {**fields, **changes}


def write_looped_model(folder: Path) -> Path:
    """Random weights under the names of the module."""
    family, fields = Looped(), config()
    module = family.network(family.describe(Config(fields), ()))
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(value.shape, generator=generator)
        for name, value in module.named_parameters()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(fields))
    write_tokenizer(builtin_tokenizer(), folder)
    return folder
