"""Bundles: methods whose parts in several slots share their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from dlmkit.bounds import above, at_least, at_most
from dlmkit.bundles import Bundle
from dlmkit.combinators import UnionTransfer
from dlmkit.component import option
from dlmkit_strategies.editing import TokenEdit
from dlmkit_strategies.frontier import GrowingBlocks
from dlmkit_strategies.ratio_rules import Everything, ReopenPlanned, ReopenRecorded
from dlmkit_strategies.remdm import FillAndRefill, ReopenUnlikely
from dlmkit_strategies.saber_rules import AboveMean, Backtrack
from dlmkit_strategies.transfer import Threshold, TopK
from dlmkit_strategies.wino import AtMostShare, Unsupported

__all__ = ["Editing", "PathPlanning", "Rcr", "RefillLoop", "Saber", "Wino"]

_MAX_STEPS = 1024
_SHARE = (at_least(0), at_most(1))
_STEPS = "steps for each block"
_CURVE = "share of the masks left after the part r of the steps: 1 - r, cos(r pi/2), or 1 - r^2"
Curve = Literal["linear", "cosine", "square"]


@attrs.frozen
class Saber(Bundle):
    """Commit above the running mean, and take back what lost confidence.

    Fills `blocks`, `transfer`, `revise` and `max_steps`.  Source: Saber (arXiv:2510.18165), n and
    mu.
    """

    name = "saber"

    length: int = option(128, doc="tokens in a block", check=at_least(1))
    least: int = option(2, doc="fewest commits in each step (n)", check=at_least(2))
    divisor: float = option(8.0, doc="commits for each reopened position (mu)", check=above(1))
    rounding: Literal["up", "down"] = option("up", doc="how a part of a position counts")

    def slots(self) -> Mapping[str, Any]:
        """Blocks that stay open, the rule and its reviser."""
        back = Backtrack(least=self.least, divisor=self.divisor, rounding=self.rounding)
        return {
            "blocks": GrowingBlocks(length=self.length),
            "transfer": AboveMean(least=self.least),
            "revise": (back,),
            "max_steps": _MAX_STEPS,
        }


@attrs.frozen
class Rcr(Bundle):
    """Decide everything in each step, and reopen what was decided with the least confidence.

    Fills `blocks`, `transfer`, `revise` and `max_steps`.  Source: RCR (arXiv:2508.13148).
    """

    name = "rcr"

    length: int = option(32, doc="tokens in a block", check=at_least(1))
    steps: int = option(16, doc=_STEPS, check=at_least(1), key="steps_per_block")
    curve: Curve = option("linear", doc=_CURVE)

    def slots(self) -> Mapping[str, Any]:
        """Blocks that stay open, the rule and its reviser."""
        return {
            "blocks": GrowingBlocks(length=self.length),
            "transfer": Everything(),
            "revise": (ReopenRecorded(steps=self.steps, curve=self.curve),),
            "max_steps": _MAX_STEPS,
        }


@attrs.frozen
class PathPlanning(Bundle):
    """Keep what scores best anywhere in the block, old or new, and leave the rest masked.

    Fills `transfer`, `revise` and `max_steps`.  Source: P2 (arXiv:2502.03540), eta.
    """

    name = "path-planning"

    steps: int = option(64, doc=_STEPS, check=at_least(1), key="steps_per_block")
    curve: Curve = option("linear", doc=_CURVE)
    eta: float = option(1.0, doc="weight of new positions; above 1 takes more back", check=above(0))

    def slots(self) -> Mapping[str, Any]:
        """The rule and its reviser."""
        return {
            "transfer": Everything(),
            "revise": (ReopenPlanned(steps=self.steps, curve=self.curve, eta=self.eta),),
            "max_steps": _MAX_STEPS,
        }


@attrs.frozen
class RefillLoop(Bundle):
    """Fill most of the block, then take back and refill the least likely tokens.

    Fills `transfer`, `revise` and `max_steps`.  Source: the loop variant of ReMDM
    (arXiv:2503.00307).
    """

    name = "refill-loop"

    k: int = option(1, doc="tokens filled, taken back and refilled at a time", check=at_least(1))
    fill: float = option(
        0.875,
        doc="share of the masks that is filled before the loop",
        check=_SHARE,
    )
    loops: int = option(32, doc="times that tokens are taken back and refilled", check=at_least(0))

    def slots(self) -> Mapping[str, Any]:
        """The rule and its reviser, with the same options."""
        return {
            "transfer": FillAndRefill(k=self.k, fill=self.fill, loops=self.loops),
            "revise": (ReopenUnlikely(k=self.k, fill=self.fill, loops=self.loops),),
            "max_steps": _MAX_STEPS,
        }


@attrs.frozen
class Wino(Bundle):
    """Decide widely, and take back what the rest of the text does not bear out.

    Fills `transfer`, `guard`, `revise` and `max_steps`.  Source: WINO (arXiv:2507.18578), tau_1
    and tau_2.
    """

    name = "wino"

    wide: float = option(0.6, doc="probability that decides a position (tau_1)", check=_SHARE)
    narrow: float = option(0.9, doc="probability that lets a token stay (tau_2)", check=_SHARE)

    def slots(self) -> Mapping[str, Any]:
        """The rule, its bound and its reviser."""
        return {
            "transfer": Threshold(threshold=self.wide),
            "guard": (AtMostShare(),),
            "revise": (Unsupported(threshold=self.narrow),),
            "max_steps": _MAX_STEPS,
        }


@attrs.frozen
class Editing(Bundle):
    """Decide what is sure, and replace decided tokens where another one is surer.

    Fills `transfer` and `revise`; for models that were trained for it.  Source: LLaDA2.1
    (arXiv:2602.08676), its two thresholds.
    """

    name = "token-edit"

    threshold: float = option(0.95, doc="probability that decides a position", check=_SHARE)
    edit: float = option(
        0.9, doc="probability that replaces a token; 1 or more: no edits", check=at_least(0)
    )
    passes: int = option(16, doc="passes over a full block, at most", check=at_least(0))

    def slots(self) -> Mapping[str, Any]:
        """The rule and its reviser."""
        sure = Threshold(threshold=self.threshold)
        return {
            "transfer": UnionTransfer(of=(sure, TopK(k=1))),
            "revise": (TokenEdit(threshold=self.edit, passes=self.passes),),
        }
