"""Drafters and procedures in which one network drafts and checks its own next steps."""

from __future__ import annotations

from dlmkit_strategies.self_speculation.free_dave import FreeDave, WideFreeDave
from dlmkit_strategies.self_speculation.pruning import PruneByMean
from dlmkit_strategies.self_speculation.rank_graph import RankGraph

__all__ = ["FreeDave", "PruneByMean", "RankGraph", "WideFreeDave"]
