"""Drafts that branch: views, drafters and refiners of trees."""

from __future__ import annotations

from dlmkit_strategies.trees.gumbel import GumbelTree
from dlmkit_strategies.trees.paths import Paths, Tree
from dlmkit_strategies.trees.recycling import AdjacencyTree
from dlmkit_strategies.trees.stochastic_beams import StochasticBeams
from dlmkit_strategies.trees.trigrams import TrigramTree

__all__ = ["AdjacencyTree", "GumbelTree", "Paths", "StochasticBeams", "Tree", "TrigramTree"]
