"""The exact cache of block-causal and causal networks.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.component import StateField
from dlmkit.errors import StrategyError
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, columns_1N, source_B, working

__all__ = ["BlockCausal"]


@attrs.frozen
class BlockCausal(CachePolicy):
    """Store every attention block once it is complete; compute only what is not stored.

    A block that has just been completed is computed together with the next one, in one pass,
    and stored; what a pass computes of an incomplete block is forgotten.  Tokens that a reviser
    changes take everything from their attention block on out of the store.  Predictions are
    those of computing everything, but for looped models, which store their last recurrence only.
    Attention blocks are counted from the start of the row.
    Source: SDAR (arXiv:2510.06303) and BD3-LM (arXiv:2503.09573), with the extra clean pass of
    each block fused into the next block's first pass.
    """

    name = "block-causal"
    requires = frozenset({"block-causal"})
    state: ClassVar[tuple[StateField, ...]] = (StateField("stored", "bool", 0),)

    def plan(self, view: View) -> Plan:
        """Complete blocks that are not stored, and the attention blocks of the current one."""
        stored_BN = view.recall(self)["stored"]
        ready_BN = self._complete(view)
        size = self._size(view)
        # Under causal attention only what predicts a position of the block has to be computed.
        stop_B = source_B(view, view.block.stop_B) if size == 1 else view.block.stop_B
        end_B = (stop_B + size - 1) // size * size
        reach_BN = between(view, end_B.new_zeros(1), end_B)
        block_BN = between(view, source_B(view, view.block.start_B), stop_B)
        compute_BN = (reach_BN & ~stored_BN) | block_BN
        return Plan.of(compute_BN & working(view), cached_BN=stored_BN, commit_BN=ready_BN)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """What is stored now and still true."""
        view = outcome.view
        stored_BN = view.recall(self)["stored"] | (self._complete(view) & working(view))
        changed_BN = stored_BN & (outcome.before_BN != outcome.after_BN)
        return {"stored": stored_BN & ~self._from_block_of(changed_BN, view)}

    def _complete(self, view: View) -> Tensor:
        """Positions of attention blocks without a mask up to their end."""
        return ~self._from_block_of(view.canvas.masked_BN, view) & view.canvas.inside_BN

    def _from_block_of(self, where_BN: Tensor, view: View) -> Tensor:
        """Everything from the attention block of the first marked position on."""
        columns, size = columns_1N(view), self._size(view)
        first_B1 = torch.where(where_BN, columns, where_BN.shape[1] + size).amin(1, keepdim=True)
        return columns >= first_B1 // size * size

    def _size(self, view: View) -> int:
        attention = view.info.attention
        if attention.kind in ("full", "prefix-causal"):
            raise StrategyError(
                "cache policy 'block-causal' is for networks with block-causal attention; "
                f"this one's is {attention.kind}",
                hint="use prefix or dual",
            )
        return 1 if attention.kind == "causal" else attention.block or 1

    def confined(self) -> bool:
        """Nothing after the block is seen, and what lies before it is decided."""
        return True

    def provides(self) -> Literal["block", "some"]:
        """Nothing after the current block is computed."""
        return "block"
