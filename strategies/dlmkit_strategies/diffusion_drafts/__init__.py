"""Diffusion models that draft for causal ones: judges, lattices, and paths through them."""

from __future__ import annotations

from dlmkit_strategies.diffusion_drafts.mixture import Mixture

__all__ = ["Mixture"]
