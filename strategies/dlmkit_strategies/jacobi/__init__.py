"""Jacobi decoding: causal networks that draft and check many tokens of their own at once."""

from __future__ import annotations

from dlmkit_strategies.jacobi.drafter import JacobiTail

__all__ = ["JacobiTail"]
