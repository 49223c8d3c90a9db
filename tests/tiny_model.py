"""A checkpoint folder of a few thousand random weights in LLaDA layout, with a real tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dlmkit.builtin.layout import write_checkpoint
from dlmkit.builtin.tokenizer import builtin_tokenizer
from dlmkit.models.arch import ArchSpec, RotarySpec
from dlmkit.models.decoder import Decoder

if TYPE_CHECKING:
    from pathlib import Path


def write_tiny_model(folder: Path, *, seed: int = 0, max_positions: int = 128) -> Path:
    tokenizer = builtin_tokenizer()
    arch = ArchSpec(
        vocab_rows=tokenizer.get_vocab_size(),
        hidden=16,
        layers=2,
        heads=2,
        kv_heads=2,
        head_dim=8,
        ffn=24,
        rotary=RotarySpec(dim=8),
        max_positions=max_positions,
    )
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(value.shape, generator=generator)
        for name, value in Decoder(arch).named_parameters()
    }
    write_checkpoint(folder, arch, weights, tokenizer)
    return folder
