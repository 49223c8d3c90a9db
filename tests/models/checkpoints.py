"""The reference checkpoints and their recorded outputs, read in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from dlmkit.models.loading import load_model
from dlmkit_strategies.families import FAMILIES

if TYPE_CHECKING:
    from dlmkit.engine import LoadedModel

FIXTURES = Path(__file__).parents[2].parent / "shared/fixtures"
FOLDERS = ("llada", "llada_gqa_tied", "dream")


def folder(name: str) -> Path:
    path = FIXTURES / name
    if not path.is_dir():
        pytest.skip(f"reference checkpoint {path} is not available")
    return path


def recorded(name: str, file: str = "logits.npz") -> dict[str, Tensor]:
    with np.load(folder(name) / file) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def loaded(name: str, **options) -> LoadedModel:
    from dlmkit.engines.torch_engine import TorchEngine

    options.setdefault("device", "cpu")
    return load_model(str(folder(name)), engine=TorchEngine(), families=FAMILIES, **options)
