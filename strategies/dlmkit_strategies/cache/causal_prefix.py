"""The exact cache of networks that read finished text causally and a block freely.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.component import StateField, option
from dlmkit.errors import StrategyError
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, columns_1N, source_B, working

__all__ = ["CausalPrefix"]


@attrs.frozen
class CausalPrefix(CachePolicy):
    """Store the text before the current block, read causally; compute the block, which sees all.

    A finished block is computed once more, causally, together with the next one, and stored; what
    a pass computes of the current block is forgotten.  Nothing after the block is seen.  Tokens
    that a reviser changes take everything after them out of the store.
    Source: Nemotron-Labs-Diffusion (NVIDIA, 2026) and Efficient-DLM (arXiv:2512.14067), with the
    extra pass of a finished block fused into the next block's first.
    """

    name = "causal-prefix"
    requires = frozenset({"prefix-causal"})
    state: ClassVar[tuple[StateField, ...]] = (StateField("stored", "bool", 0),)

    store: bool = option(True, doc="keep finished text; false computes it in every pass")

    def plan(self, view: View) -> Plan:
        """What is not stored before the block, and the block.

        Raises:
            StrategyError: the network's attention is not prefix-causal.
        """
        if view.info.attention.kind != "prefix-causal":
            raise StrategyError(
                "cache policy 'causal-prefix' is for networks with prefix-causal attention; "
                f"this one's is {view.info.attention.kind}",
                hint="use block-causal for block-causal and causal networks, else prefix or dual",
            )
        stored_BN, before_BN = view.recall(self)["stored"], self._before(view)
        block_BN = between(view, source_B(view, view.block.start_B), view.block.stop_B)
        return Plan.of(
            ((before_BN & ~stored_BN) | block_BN) & working(view),
            cached_BN=stored_BN if self.store else None,
            commit_BN=before_BN if self.store else None,
            prefix_B=view.block.start_B,
        )

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """What is stored now and still true."""
        view, columns = outcome.view, columns_1N(outcome.view)
        if not self.store:
            return view.recall(self)
        stored_BN = view.recall(self)["stored"] | (self._before(view) & working(view))
        changed_BN = stored_BN & (outcome.before_BN != outcome.after_BN)
        never = changed_BN.shape[1]
        first_B1 = torch.where(changed_BN, columns, never).amin(dim=1, keepdim=True)
        return {"stored": stored_BN & (columns < first_B1)}

    def _before(self, view: View) -> Tensor:
        begin_B = view.block.start_B
        return between(view, begin_B.new_zeros(1), begin_B) & view.canvas.inside_BN

    def confined(self) -> bool:
        """Nothing after the block is seen, and what lies before it is stored."""
        return self.store

    def provides(self) -> Literal["block"]:
        """Nothing after the current block is computed."""
        return "block"
