"""Procedures of causal networks, which write from left to right."""

from __future__ import annotations

from dlmkit_strategies.autoregressive.beam_search import BeamSearch
from dlmkit_strategies.autoregressive.recurrent_depth import RecurrentDepth
from dlmkit_strategies.autoregressive.superposed import Superposed

__all__ = ["BeamSearch", "RecurrentDepth", "Superposed"]
