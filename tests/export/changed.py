"""A small network that was changed before it was compiled, and the same on PyTorch.

Legend: M prompt tokens, D hidden size.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import torch
from safetensors.torch import save_file

from dlmkit.engine import LoadOptions, find_engine
from dlmkit.models.derivation import Derivation
from dlmkit.models.loading import load_model
from dlmkit_export.bundle.make import make_bundle
from dlmkit_export.bundle.options import ExportOptions
from dlmkit_strategies.rope import NtkRope
from tests.export.compiled import ROOM, source

if TYPE_CHECKING:
    from dlmkit.engine import LoadedModel

ROPE = NtkRope(context=256, factor=8.0)
"""For so few positions the paper's rule would change nothing."""

PLAIN = LoadOptions(dtype="float32", device="cpu")


@functools.cache
def prompts(seed: int = 0) -> str:
    """A file of three prompt tokens for the tiny model."""
    path = Path(ROOM.name) / f"prompts-{seed}.safetensors"
    generator = torch.Generator().manual_seed(seed)
    save_file({"prompts_MD": torch.randn(3, 16, generator=generator)}, path)
    return str(path)


def derivation(**changes) -> Derivation:
    return Derivation(source="main", **changes)


def both() -> Derivation:
    """A layer less, and prompt tokens."""
    return derivation(skip_layers=(0,), prompt_tokens=prompts())


@functools.cache
def changed() -> Path:
    """The tiny bundle with a layer less, prompt tokens, and a longer context."""
    path = Path(ROOM.name) / "changed"
    load = attrs.evolve(PLAIN, rope=ROPE)
    make_bundle(source("tiny"), path, ExportOptions(), load, derivation=both())
    return path


def on_torch(rope: NtkRope | None = ROPE) -> LoadedModel:
    """The same network."""
    model = load_model(source("tiny"), dtype="float32", device="cpu", rope=rope)
    return find_engine("torch").derive(model, both())
