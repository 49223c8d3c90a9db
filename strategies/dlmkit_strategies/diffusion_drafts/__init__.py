"""Diffusion models that draft for causal ones: judges, lattices, and paths through them."""

from __future__ import annotations

from dlmkit_strategies.diffusion_drafts.best_path import BestPath
from dlmkit_strategies.diffusion_drafts.lattice import Lattice
from dlmkit_strategies.diffusion_drafts.left_to_right import LeftToRight
from dlmkit_strategies.diffusion_drafts.mixture import CoupledMixture, Mixture

__all__ = ["BestPath", "CoupledMixture", "Lattice", "LeftToRight", "Mixture"]
