"""Model families: how published checkpoints map onto the shared decoder."""

from __future__ import annotations

from dlmkit_strategies.families.dream import Dream
from dlmkit_strategies.families.llada import Llada

__all__ = ["FAMILIES", "Dream", "Llada"]

FAMILIES = (Dream, Llada)
"""Every family of this package, for registration."""
