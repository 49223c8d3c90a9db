"""Drafts that branch: views, drafters and refiners of trees."""

from __future__ import annotations

from dlmkit_strategies.trees.paths import Paths

__all__ = ["Paths"]
