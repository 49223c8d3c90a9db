"""A cache that freezes finished blocks for good.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs
from torch import Tensor

from dlmkit.component import StateField, option
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, source_B, working

__all__ = ["FreeCache"]


@attrs.frozen
class FreeCache(CachePolicy):
    """Compute the block and everything after it; freeze a block as its last pass left it.

    Nothing is ever computed again: the prompt stays as it was next to an answer of masks, and
    the tokens that a block's last pass decided keep the keys and values of their masks, unless
    `settle` has them computed once more, along with the next block's first pass.
    Source: FlashDLM (arXiv:2505.21467), FreeCache, whose block ends with its quota; here with
    its last mask; `settle` dlmkit.
    """

    name = "free-cache"
    state: ClassVar[tuple[StateField, ...]] = (StateField("tag", "int64", -1, keep=True),)

    settle: bool = option(False, doc="compute tokens once more that were frozen as masks")

    def plan(self, view: View) -> Plan:
        """Everything in the first step, then from the block on."""
        begin_B, tag_BN = source_B(view, view.block.start_B), view.recall(self)["tag"]
        tail_BN = between(view, begin_B, view.canvas.length_B)
        first = view.step == 0
        if not first:  # a verifier may decide a block without keeping any of its passes
            tail_BN = tail_BN | (tag_BN != view.tokens_BN if self.settle else tag_BN < 0)
        return Plan.of(
            working(view) if first else tail_BN & working(view),
            cached_BN=None if first else ~tail_BN,
            commit_BN=self._freezing(view),
        )

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The token that each stored position was computed from."""
        return self.foresee(outcome.view)

    def foresee(self, view: View) -> Mapping[str, Tensor]:
        """It follows from the plan."""
        stored_BN = self.plan(view).committed_BN(view.tokens_BN.shape[1])
        return {"tag": view.recall(self)["tag"].where(~stored_BN, view.tokens_BN)}

    def _freezing(self, view: View) -> Tensor:
        """The block and what lies before it; given text behind it may never be in a block."""
        past_BN = between(view, view.block.start_B.new_zeros(1), view.block.stop_B)
        return past_BN | view.canvas.given_BN

    def provides(self) -> Literal["block"]:
        """Finished blocks are not computed again."""
        return "block"

    def freezes(self) -> Literal["blocks"]:
        """Finished blocks."""
        return "blocks"

    def exact(self) -> bool:
        """Frozen keys and values miss every later token."""
        return False

    def forks(self) -> bool:
        """Every pass over a block stores all of it again, and none of them reads it."""
        return True
