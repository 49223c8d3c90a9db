"""Drafting from what the verifier has said already: its next choices, most confident first.

Legend: B rows, N canvas positions, P window positions, E entries.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.outcome import Outcome
from dlmkit_strategies.kernels import rank

__all__ = ["OwnTopChain"]


@attrs.frozen
class OwnTopChain(Drafter):
    """The verifier's proposals of its last step, one after the other by falling confidence.

    The first round drafts nothing, since the verifier has not spoken.  No network of its own.
    Source: self speculative decoding (arXiv:2510.04147).
    """

    name = "own-topk-chain"
    needs_view = frozenset({"states"})

    most: int = option(16, doc="tokens drafted at most in a round", check=at_least(1))

    def alone(self) -> bool:
        """One token after the other."""
        return True

    def begin(self, setting: Setting) -> DraftRun:
        """Wait for the verifier to speak."""
        return _Chain(self)


@attrs.define
class _Chain(DraftRun):
    drafter: OwnTopChain
    spoken: Outcome | None = None

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """The most confident proposals that are still masks of the block, each a node."""
        yield from ()
        canvas, rows = start.canvas, len(start.canvas.tokens_BN)
        if self.spoken is None:
            return Draft.empty(rows, canvas.tokens_BN.device)
        view, most = self.spoken.view, min(self.drafter.most, self.spoken.commit_BP.shape[1])
        open_BP = canvas.masked_BN.gather(1, view.positions_BP) & view.eligible_BP
        rank_BP = rank(self.spoken.confidence_BP, open_BP)
        order_BE = rank_BP.argsort(dim=1)[:, :most]
        budget_BE = torch.arange(most, device=rank_BP.device) < start.budget_B[:, None]
        return Draft.chain(
            view.positions_BP.gather(1, order_BE),
            self.spoken.proposals_BP.gather(1, order_BE),
            open_BP.gather(1, order_BE) & budget_BE,
        )

    def settle(self, result: RoundResult) -> None:
        """Remember the verifier's last word."""
        self.spoken = result.step
