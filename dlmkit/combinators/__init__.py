"""Combinators: strategies made of strategies of the same role.

In Python, `a | b` is the union and `a & b` the intersection of two rules.
"""

from __future__ import annotations

from dlmkit.combinators.chains import ChainGuard, ChainLogits
from dlmkit.combinators.condition import Condition
from dlmkit.combinators.exits import IntersectExit, UnionExit
from dlmkit.combinators.stops import IntersectStop, UnionStop
from dlmkit.combinators.transfers import FallbackTransfer, IntersectTransfer, UnionTransfer
from dlmkit.combinators.when_alone import (
    WhenExit,
    WhenGuard,
    WhenInputs,
    WhenLogits,
    WhenRevise,
    WhenStop,
)
from dlmkit.combinators.when_else import WhenConfidence, WhenSample, WhenTransfer

__all__ = [
    "COMBINATORS",
    "ChainGuard",
    "ChainLogits",
    "Condition",
    "FallbackTransfer",
    "IntersectExit",
    "IntersectStop",
    "IntersectTransfer",
    "UnionExit",
    "UnionStop",
    "UnionTransfer",
    "WhenConfidence",
    "WhenExit",
    "WhenGuard",
    "WhenInputs",
    "WhenLogits",
    "WhenRevise",
    "WhenSample",
    "WhenStop",
    "WhenTransfer",
]

COMBINATORS = (
    ChainGuard,
    ChainLogits,
    FallbackTransfer,
    IntersectExit,
    IntersectStop,
    IntersectTransfer,
    UnionExit,
    UnionStop,
    UnionTransfer,
    WhenConfidence,
    WhenExit,
    WhenGuard,
    WhenInputs,
    WhenLogits,
    WhenRevise,
    WhenSample,
    WhenStop,
    WhenTransfer,
)
"""Every combinator, as the core's plugin offers them."""
