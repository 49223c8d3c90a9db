"""Checkpoint folders of random weights in LLaDA's layout, of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dlmkit.builtin.layout import write_checkpoint
from dlmkit.builtin.tokenizer import builtin_tokenizer
from dlmkit.models.arch import ArchSpec, RotarySpec
from dlmkit.models.decoder import Decoder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_random_model"]


def write_random_model(
    folder: Path, *, hidden: int, layers: int, ffn: int, vocabulary: int, head_dim: int = 64
) -> int:
    """Write the checkpoint and return how many parameters it has."""
    heads = hidden // head_dim
    arch = ArchSpec(
        vocab_rows=vocabulary,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        ffn=ffn,
        rotary=RotarySpec(dim=head_dim, base=500_000.0),
        max_positions=2048,
    )
    torch.manual_seed(0)
    weights = {}
    with torch.no_grad():
        for name, value in Decoder(arch).named_parameters():
            noise = torch.randn_like(value).mul_(0.02)
            weights[name] = noise.add_(1) if value.ndim == 1 else noise
    write_checkpoint(folder, arch, weights, builtin_tokenizer())
    return sum(value.numel() for value in weights.values())
