"""A cache that takes a token in one step after it was decided.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import StateField, option
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import (
    between,
    columns_1N,
    decided,
    predicting,
    source_B,
    undecided_here,
    working,
)

__all__ = ["DelayedDecode"]


@attrs.frozen
class DelayedDecode(CachePolicy):
    """Keep a token's keys and values once it has been computed as a token, not as a mask.

    A token is computed in the step after it was decided, stored, and read until the next
    refresh; masks are always computed.  In logit-shifted families a row has a second task, to
    predict the next position; `keep` says when it may be stored: `known`, its token is decided
    (the row is computed again while the next position is a mask; the published `right` leaves it
    out and decides token 0 there); `used`, the next token is decided (published as `un`; its own
    may still be a mask, and stays one until the refresh); `both`, `un_right`.
    Source: dKV-Cache (arXiv:2505.15781), dKV-Cache-Decode, with `prompt` dKV-Cache-PD.
    """

    name = "dkv-decode"
    state: ClassVar[tuple[StateField, ...]] = (StateField("kept", "bool", 0),)

    refresh: int = option(
        8, doc="steps of a block from one whole pass to the next; 1: no reuse", check=at_least(1)
    )
    whole: int = option(2, doc="whole passes at the start of each block", check=at_least(1))
    keep: Literal["known", "used", "both"] = option("known", doc="when a position may be stored")
    prompt: bool = option(False, doc="compute the prompt, but for its last token, only once")

    def plan(self, view: View) -> Plan:
        """Masks, and what was decided in the last step; everything when a refresh is due."""
        kept_BN = view.recall(self)["kept"]
        due_B = self._due(view)
        needed_BN = predicting(view, undecided_here(view)) | ~kept_BN | due_B[:, None]
        frozen_BN = torch.zeros_like(kept_BN)
        if self.prompt and view.step:
            frozen_BN = self._before_answer(view) & kept_BN
        return Plan.of(
            needed_BN & ~frozen_BN & working(view),
            cached_BN=frozen_BN | (kept_BN & ~due_B[:, None]),
            commit_BN=self._keepable(view),
        )

    def _due(self, view: View) -> Tensor:
        return (view.block_step_B % self.refresh == 0) | (view.block_step_B < self.whole)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """What this step stored, or found stored."""
        return {"kept": self._keepable(outcome.view)}

    def _keepable(self, view: View) -> Tensor:
        known_BN = decided(view)
        if not view.step:
            return known_BN & self._before_answer(view)
        later_BN = self._later(known_BN, view)
        if view.taken_B is None:
            return later_BN
        early_BN = known_BN & self._before_answer(view)
        return torch.where((view.taken_B == 0)[:, None], early_BN, later_BN)

    def _later(self, known_BN: Tensor, view: View) -> Tensor:
        """What is kept of a pass that is not a row's first."""
        if self.keep == "known" or not view.info.logit_shift:
            return known_BN
        next_BN = torch.nn.functional.pad(known_BN[:, 1:], (0, 1))
        last_BN = columns_1N(view) == view.canvas.length_B[:, None] - 1
        if self.keep == "used":
            # The last position predicts nothing.
            return next_BN | last_BN
        # There the last position follows its neighbour.
        before_BN = torch.nn.functional.pad(known_BN[:, :-1], (1, 0))
        return known_BN & torch.where(last_BN, before_BN, next_BN)

    def _before_answer(self, view: View) -> Tensor:
        begin_B = source_B(view, view.canvas.start_B)
        return between(view, begin_B.new_zeros(1), begin_B)

    def provides(self) -> Literal["undecided", "region"]:
        """Decided tokens are not computed again before the refresh."""
        return "region" if self.exact() else "undecided"

    def freezes(self) -> Literal["tokens", "nothing"]:
        """Decided tokens."""
        return "nothing" if self.exact() else "tokens"

    def exact(self) -> bool:
        """Only if every step is a refresh of everything."""
        return self.refresh == 1 and not self.prompt

    def renews(self, view: View) -> Tensor:
        """Every whole pass, though it may read the prompt."""
        return self._due(view)
