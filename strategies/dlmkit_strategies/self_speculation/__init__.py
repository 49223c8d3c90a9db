"""Procedures in which one network drafts and checks its own next steps."""

from __future__ import annotations

from dlmkit_strategies.self_speculation.free_dave import FreeDave

__all__ = ["FreeDave"]
