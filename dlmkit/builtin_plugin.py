"""The core's own plugin: procedures, torch engine, combinators, schedules, composition checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlmkit.component import Component
    from dlmkit.spec.check import Check

__all__ = ["dlmkit_checks", "dlmkit_components"]


@hookimpl
def dlmkit_components() -> Iterable[type[Component]]:
    """Offer the components that belong to no particular method."""
    from dlmkit.combinators import COMBINATORS
    from dlmkit.denoise import Denoise
    from dlmkit.draft_verify.kernel import DraftVerify
    from dlmkit.engines.torch_engine import TorchEngine
    from dlmkit.schedules import Cosine, Exponential, Linear, Piecewise

    return (Denoise, DraftVerify, TorchEngine, *COMBINATORS, Linear, Cosine, Exponential, Piecewise)


@hookimpl
def dlmkit_checks() -> Iterable[Check]:
    """Offer the composition checks."""
    from dlmkit.spec.checks import CHECKS

    return CHECKS
