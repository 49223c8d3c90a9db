"""Checkpoint folders of random weights in LLaDA's layout, of any size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from dlmkit.builtin.layout import llada_config, llada_name
from dlmkit.builtin.tokenizer import builtin_tokenizer, write_tokenizer
from dlmkit.models.arch import ArchSpec, RotarySpec
from dlmkit.models.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

__all__ = ["write_random_model"]

SHARD = 2**30
"""Bytes after which a new file begins."""


def write_random_model(
    folder: Path,
    *,
    hidden: int,
    layers: int,
    ffn: int,
    vocabulary: int,
    head_dim: int = 64,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write the checkpoint; no more than a file of it is ever held in memory."""
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
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = builtin_tokenizer()
    write_tokenizer(tokenizer, folder)
    config = llada_config(arch, tokenizer) | {"torch_dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(config))
    places = {}
    for number, part in enumerate(_shards(arch, dtype)):
        name = f"model-{number:05}.safetensors"
        save_file(part, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _shards(arch: ArchSpec, dtype: torch.dtype) -> Iterator[dict[str, Tensor]]:
    """Random weights of one file after another."""
    torch.manual_seed(0)
    with torch.device("meta"):
        wanted = dict(Decoder(arch).named_parameters())
    part: dict[str, Tensor] = {}
    for name, parameter in wanted.items():
        noise = torch.randn(parameter.shape).mul_(0.02)
        part[llada_name(name)] = (noise.add_(1) if noise.ndim == 1 else noise).to(dtype)
        if sum(each.nbytes for each in part.values()) >= SHARD:
            yield part
            part = {}
    if part:
        yield part
