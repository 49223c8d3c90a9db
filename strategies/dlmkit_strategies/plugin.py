"""The entry point of the built-in strategies: everything they offer, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from dlmkit.plugins import hookimpl

if TYPE_CHECKING:
    from dlmkit.component import Component

MODULES = (
    "adaptive_blocks",
    "agreement",
    "aligned",
    "autoregressive",
    "annealed",
    "averaging",
    "background",
    "block_quota",
    "blocks",
    "bridges",
    "bundles",
    "cache",
    "certainty",
    "confidence",
    "constraints",
    "credit",
    "curves",
    "deferral",
    "diffusion_drafts",
    "draft_verify",
    "editing",
    "entropy_rules",
    "episodes",
    "exits",
    "exploration",
    "explore_ahead",
    "fading",
    "fragments",
    "frontier",
    "guard",
    "guide",
    "jacobi",
    "left_to_right",
    "lengths",
    "locality",
    "logits",
    "look_ahead",
    "order",
    "penalties",
    "prompt_tokens",
    "ratio_rules",
    "remdm",
    "renoising",
    "saber_rules",
    "rope",
    "sample",
    "self_speculation",
    "soft_mask",
    "stability",
    "stop",
    "transfer",
    "transformers_engine",
    "trees",
    "wino",
)
"""Modules of this package whose public names are strategies."""


@hookimpl
def dlmkit_components() -> Iterable[type[Component]]:
    """List the strategies and model families of this package."""
    from dlmkit_strategies.families import FAMILIES

    modules = (import_module(f"dlmkit_strategies.{name}") for name in MODULES)
    strategies = (getattr(module, name) for module in modules for name in module.__all__)
    return (*strategies, *FAMILIES)


@hookimpl
def dlmkit_presets() -> Iterable[Traversable]:
    """Name the folder of specs that ship with this package."""
    return (files("dlmkit_strategies") / "presets",)
