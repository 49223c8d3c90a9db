"""A small checkpoint of random weights in the layout of Huginn-0125."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from dlmkit.builtin.tokenizer import EOS, builtin_tokenizer, special_id, write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEADS, FFN, DEPTH, EMBED, STD = 16, 2, 24, 5, 3.0, 0.25
LAYERS = {"prelude": 1, "core_block": 2, "coda": 1}


def config(**changes):
    """The fields of the release that say something."""
    tokenizer = builtin_tokenizer()
    fields = {
        "architectures": ["RavenForCausalLM"], "model_type": "huginn_raven",
        "block_class_name": "SandwichBlock", "mlp_class_name": "GatedMLP", "nonlin_name": "SiLU",
        "injection_type": "linear", "bias": False, "qk_bias": True, "test_time_noise": 0,
        "n_embd": WIDTH, "n_heads": HEADS, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "intermediate_size": FFN, "n_layers": 4,
        "n_layers_in_prelude": 1, "n_layers_in_recurrent_block": 2, "n_layers_in_coda": 1,
        "mean_recurrence": DEPTH, "block_size": 128, "norm_eps": 1e-6, "rope_base": 50000,
        "tie_embeddings": True, "vocab_size": tokenizer.get_vocab_size(),
        "padded_vocab_size": tokenizer.get_vocab_size(),
        "init_values": {"std": STD, "embed_scale": EMBED},
        "eos_token_id": special_id(tokenizer, EOS),
    }  # fmt: skip
    return {**fields, **changes}


def tensors():
    """Random weights under the names of the release, its buffer of angles among them."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = builtin_tokenizer().get_vocab_size()
    shapes = {"wte.weight": (vocabulary, WIDTH), "adapter.weight": (WIDTH, 2 * WIDTH)}
    shapes["ln_f.weight"] = (WIDTH,)
    for part, count in LAYERS.items():
        for layer in range(count):
            stem = f"{part}.{layer}"
            shapes |= {f"{stem}.norm_{number}.weight": (WIDTH,) for number in (1, 2, 3, 4)}
            shapes[f"{stem}.attn.qk_bias"] = (2, 1, HEADS, WIDTH // HEADS)
            shapes[f"{stem}.attn.Wqkv.weight"] = (3 * WIDTH, WIDTH)
            shapes[f"{stem}.attn.proj.weight"] = (WIDTH, WIDTH)
            shapes[f"{stem}.mlp.fc.weight"] = (2 * FFN, WIDTH)
            shapes[f"{stem}.mlp.proj.weight"] = (WIDTH, FFN)
    drawn = {
        f"transformer.{name}": 0.3 * torch.randn(shape, generator=generator) + (len(shape) == 1)
        for name, shape in shapes.items()
    }
    return {**drawn, "freqs_cis": torch.zeros(1, 128, 1, WIDTH // HEADS // 2, 2)}


def write_huginn_model(folder: Path) -> Path:
    """A folder as it is downloaded."""
    save_file(tensors(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config()))
    write_tokenizer(builtin_tokenizer(), folder)
    return folder
