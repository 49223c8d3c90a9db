"""The checkpoints that come with dlmkit, and everything that made them."""

from __future__ import annotations

from pathlib import Path

from dlmkit.builtin.names import MODELS

__all__ = ["MODELS", "checkpoint_path"]


def checkpoint_path(name: str) -> Path:
    """The folder of a built-in checkpoint: `verifier`, `drafter` or `guide`."""
    raise NotImplementedError
