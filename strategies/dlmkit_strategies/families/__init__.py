"""Model families: how published checkpoints map onto the shared decoder."""

from __future__ import annotations

from dlmkit_strategies.families.dream import Dream
from dlmkit_strategies.families.llada import Llada
from dlmkit_strategies.families.qwen2 import Qwen2

__all__ = ["FAMILIES", "Dream", "Llada", "Qwen2"]

FAMILIES = (Dream, Llada, Qwen2)
"""Every family of this package, for registration."""
