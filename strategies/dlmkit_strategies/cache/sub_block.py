"""The two caches of Fast-dLLM v2: finished blocks exactly, the block being decoded as a draft.

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
from dlmkit.view import View
from dlmkit_strategies.cache.causal import BlockCausal
from dlmkit_strategies.cache.marks import between, source_B, working

__all__ = ["SubBlock"]


@attrs.frozen
class SubBlock(BlockCausal):
    """Store finished attention blocks exactly; optionally reuse the rest of the current one.

    The pass that stores a finished block computes nothing else: in logit-shifted families it
    decides the first token of the next block, and no other.  With `reuse`, a pass over the whole
    attention block leaves a draft of its keys and values; while the first token of a sub-block
    (`blocks` of a length that divides the attention block) is known, a pass then computes that
    sub-block only, and replaces its part of the draft.
    Source: Fast-dLLM v2 (arXiv:2509.26328), `use_block_cache`.
    """

    name = "sub-block"
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("stored", "bool", 0),
        StateField("draft", "bool", 0),
    )

    reuse: bool = option(False, doc="read the rest of the current attention block from a draft")

    def plan(self, view: View) -> Plan:
        """Finished blocks that are not stored, alone or with what is decoded now."""
        memory, ready_BN = view.recall(self), self._complete(view)
        stored_BN, draft_BN = memory["stored"], memory["draft"]
        leads_B1 = self._leads_B(view)[:, None]
        span_BN = self._span(stored_BN, draft_BN, view) & ~leads_B1
        begin_B = source_B(view, self._begin_B(view))
        lead_BN = between(view, begin_B, begin_B + 1) & leads_B1
        return Plan.of(
            ((ready_BN & ~stored_BN) | span_BN | lead_BN) & working(view),
            cached_BN=stored_BN | draft_BN,
            commit_BN=ready_BN | span_BN if self.reuse else ready_BN,
        )

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """What is stored and still true, and the draft of unfinished blocks."""
        view = outcome.view
        written_BN = self.plan(view).committed_BN(view.tokens_BN.shape[1])
        draft_BN = (view.recall(self)["draft"] | written_BN) & ~self._complete(view)
        return {**super().advance(outcome), "draft": draft_BN}

    def _begin_B(self, view: View) -> Tensor:
        """Where the attention block of the current block begins."""
        return view.block.start_B // self._size(view) * self._size(view)

    def _leads_B(self, view: View) -> Tensor:
        """Rows whose attention block begins with a mask that the block before predicts."""
        begin_B = self._begin_B(view)
        masked_B = view.canvas.masked_BN.gather(1, begin_B[:, None])[:, 0]
        return masked_B & (source_B(view, begin_B) < begin_B)

    def _span(self, stored_BN: Tensor, draft_BN: Tensor, view: View) -> Tensor:
        """All of the attention block that is not stored, or the sub-block."""
        size, stop_B = self._size(view), view.block.stop_B
        end_B = (stop_B + size - 1) // size * size
        fresh_BN = between(view, end_B.new_zeros(1), end_B) & ~stored_BN
        if not self.reuse:
            return fresh_BN
        begin_B = (stop_B - view.block.width).maximum(self._begin_B(view))
        blind_B = view.canvas.masked_BN.gather(1, begin_B[:, None])[:, 0]
        whole_B1 = (blind_B | (fresh_BN & view.canvas.inside_BN & ~draft_BN).any(dim=1))[:, None]
        return (fresh_BN & whole_B1) | (between(view, begin_B, stop_B) & ~whole_B1)

    def confined(self) -> bool:
        """Unless drafts of other sub-blocks are read."""
        return not self.reuse

    def provides(self) -> Literal["some"]:
        """At times only the first position of a block."""
        return "some"

    def freezes(self) -> Literal["blocks", "nothing"]:
        """Sub-blocks that are not decoded now, until the next whole pass."""
        return "blocks" if self.reuse else "nothing"

    def exact(self) -> bool:
        """A draft misses the tokens decided since."""
        return not self.reuse
