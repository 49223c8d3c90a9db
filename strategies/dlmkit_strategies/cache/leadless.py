"""Leaving out the row before the block, which predicts its first position in shifted families.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from dlmkit.component import option
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, source_B

__all__ = ["Leadless"]


@attrs.frozen
class Leadless(CachePolicy):
    """Follow a policy that is rebuilt at block start, without the row before the block.

    In families with a logit shift it is left out once the block's first position, which it
    predicts, is decided: by the whole pass, if the transfer rule is `first-alone`.
    Source: Fast-dLLM (arXiv:2505.22618), Dream with a cache, as published.
    """

    name = "leadless"

    of: CachePolicy = option(doc="the policy to follow: dual or prefix")

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse a policy whose layers read or compute different positions."""
        if options["of"].by_layer:
            message = f"cache {options['of'].name!r} has layers that differ, which is lost here"
            yield "of", message, "use dual or prefix"

    def plan(self, view: View) -> Plan:
        """The inner plan; the row before the block is stored by the whole pass, and then read."""
        inner, columns = self.of.plan(view), view.tokens_BN.shape[1]
        begin_B, entering_B1 = view.block.start_B, (view.block_step_B == 0)[:, None]
        open_B1 = view.canvas.masked_BN.gather(1, begin_B[:, None].clamp_max(columns - 1))
        lead_BN = between(view, source_B(view, begin_B), begin_B)
        computed_BN, stored_BN = inner.computed_BN(columns), inner.cached_BN
        return Plan.of(
            computed_BN & (entering_B1 | open_B1 | ~lead_BN),
            cached_BN=(lead_BN if stored_BN is None else stored_BN | lead_BN) & ~entering_B1,
            commit_BN=inner.committed_BN(columns) | (lead_BN & entering_B1 & computed_BN),
            width=inner.width,
        )

    def provides(self) -> Literal["undecided"]:
        """All of a block but its first position, if that is decided."""
        return "undecided"

    def freezes(self) -> Literal["nothing", "blocks", "tokens"]:
        """What the inner policy freezes."""
        return self.of.freezes()

    def exact(self) -> bool:
        """What is left out misses later tokens."""
        return False

    def forks(self) -> bool:
        """As the inner policy."""
        return self.of.forks()
