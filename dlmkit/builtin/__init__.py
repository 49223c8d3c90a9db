"""The checkpoints that come with dlmkit, and everything that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from dlmkit.errors import RequestError

__all__ = ["CHECKPOINTS", "PREFIX", "CheckpointName", "UnknownBuiltinError", "checkpoint_path"]

PREFIX = "builtin/"
"""What references to these checkpoints begin with."""

CheckpointName = Literal["verifier", "drafter", "guide"]
CHECKPOINTS: tuple[CheckpointName, ...] = get_args(CheckpointName)


class UnknownBuiltinError(RequestError):
    """A built-in checkpoint was asked for by a name that does not exist."""


def checkpoint_path(name: str) -> Path:
    """The folder of a built-in checkpoint: `verifier`, `drafter` or `guide`.

    Raises `UnknownBuiltinError` for any other name.
    """
    if name not in CHECKPOINTS:
        raise UnknownBuiltinError(
            f"no built-in checkpoint {name!r}", hint=f"use one of: {', '.join(CHECKPOINTS)}"
        )
    return Path(__file__).parent / "checkpoints" / name
