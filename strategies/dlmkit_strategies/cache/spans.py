"""Caches rebuilt at the start of every block, of which a pass then computes one span.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import Literal

import attrs
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, source_B, working

__all__ = ["Dual", "Prefix"]


@attrs.frozen
class BlockCache(CachePolicy):
    """What both have in common: a row computes everything in its first step in a block."""

    def provides(self) -> Literal["block"]:
        """Every pass covers the current block."""
        return "block"

    def freezes(self) -> Literal["blocks"]:
        """Other blocks wait for the next rebuild."""
        return "blocks"

    def exact(self) -> bool:
        """Stored keys and values miss the tokens decided since the rebuild."""
        return False

    def forks(self) -> bool:
        """Between rebuilds every state of the block reads the same."""
        return True

    def _rebuilding(
        self, span_BN: Tensor, cached_BN: Tensor, view: View, width: int | None = None
    ) -> Plan:
        """Compute a span and read the rest, except in rows that have just entered a block.

        `width` bounds the span, where that is known without reading a tensor.
        """
        if view.settled:  # nothing is rebuilt, so nothing is stored
            return Plan.of(span_BN & working(view), cached_BN=cached_BN, width=width)
        entering_B1 = (view.block_step_B == 0)[:, None]
        return Plan.of(
            (span_BN | entering_B1) & working(view),
            cached_BN=cached_BN & ~entering_B1,
            commit_BN=cached_BN & entering_B1,
        )


@attrs.frozen
class Prefix(BlockCache):
    """Keep what lies before the block; compute the block and everything after it.

    With a horizon only that many positions after the block are computed, and the rest of the
    canvas is out of sight until the next rebuild.
    Source: Fast-dLLM (arXiv:2505.22618), PrefixCache; dLLM-RL (arXiv:2509.06949),
    `further_horizon`.
    """

    name = "prefix"

    horizon: int | None = option(
        None, doc="positions computed after the block; absent: all", check=at_least(0)
    )

    def plan(self, view: View) -> Plan:
        """From the block to the horizon or the end; everything at block start."""
        return view.while_settled(self, lambda: self._plan(view))

    def _plan(self, view: View) -> Plan:
        canvas, begin_B = view.canvas, source_B(view, view.block.start_B)
        end_B = canvas.length_B if self.horizon is None else view.block.stop_B + self.horizon
        before_BN = between(view, begin_B.new_zeros(1), begin_B)
        return self._rebuilding(between(view, begin_B, end_B), before_BN, view)


@attrs.frozen
class Dual(BlockCache):
    """Keep what lies before and after the block; compute the block, and its vicinity if asked.

    Source: Fast-dLLM (arXiv:2505.22618), DualCache; dInfer (arXiv:2510.08666), vicinity refresh,
    whose repeated whole passes are `refresh` around this policy.
    """

    name = "dual"

    before: int = option(0, doc="positions computed before the block", check=at_least(0))
    after: int = option(0, doc="positions computed after the block", check=at_least(0))

    def plan(self, view: View) -> Plan:
        """The block and its vicinity; everything at block start."""
        return view.while_settled(self, lambda: self._plan(view))

    def _plan(self, view: View) -> Plan:
        wide_B = (view.block.start_B - self.before).clamp_min(0)
        begin_B = wide_B.minimum(source_B(view, view.block.start_B))
        span_BN = between(view, begin_B, view.block.stop_B + self.after)
        width = max(self.before, view.info.logit_shift) + view.block.width + self.after
        return self._rebuilding(span_BN, view.canvas.inside_BN, view, width)

    def confined(self) -> bool:
        """Everything else waits for the next rebuild."""
        return True
