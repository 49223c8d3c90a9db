"""The plainest component of each role, to put a tested one between and to build examples from.

Legend: B rows, N canvas positions, P window positions, K kept candidates.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.component import Component
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.roles import (
    Blocks,
    CachePolicy,
    ConfidenceScorer,
    EarlyExit,
    Exit,
    InputTransform,
    Reviser,
    Revision,
    TokenSampler,
    TransferRule,
)
from dlmkit.view import BlockSpan, View

if TYPE_CHECKING:
    from dlmkit.canvas import Canvas
    from dlmkit.prediction import Prediction

__all__ = [
    "PLAIN",
    "BestPosition",
    "BestToken",
    "ExitWhenSure",
    "FoursInOrder",
    "Refresh",
    "ReopenDoubtful",
    "SameInput",
    "TokenLogScore",
    "TokenScore",
]


@attrs.frozen
class FoursInOrder(Blocks):
    """Blocks of four positions, from left to right.

    Source: dlmkit.
    """

    name = "fours-in-order"

    def current(self, canvas: Canvas) -> BlockSpan:
        """The block of the row's first mask, else its last block."""
        last_B1 = canvas.length_B[:, None] - 1
        first_B = torch.where(canvas.masked_BN, canvas.columns_N, last_B1).amin(dim=1)
        index_B = (first_B - canvas.start_B).clamp_min(0) // 4
        start_B = canvas.start_B + 4 * index_B
        stop_B = torch.minimum(start_B + 4, canvas.length_B)
        return BlockSpan(start_B=start_B, stop_B=stop_B, index_B=index_B, width=4)


@attrs.frozen
class BestToken(TokenSampler):
    """The most probable token that is not the mask.

    Source: dlmkit.
    """

    name = "best-token"
    need = Need(top=2)

    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """First or second candidate."""
        ids_BPK = prediction.filtered.pack.top_ids_BPK
        return torch.where(
            ids_BPK[..., 0].eq(view.canvas.mask_id), ids_BPK[..., 1], ids_BPK[..., 0]
        )


@attrs.frozen
class TokenScore(ConfidenceScorer):
    """Probability of the proposal.

    Source: dlmkit.
    """

    name = "token-score"
    need = Need(top=2)
    space = "probability"

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """In [0, 1]."""
        return prediction.logp_of(tokens_BP).exp()


@attrs.frozen
class TokenLogScore(ConfidenceScorer):
    """Log-probability of the proposal.

    Source: dlmkit.
    """

    name = "token-log-score"
    need = Need(top=2)
    space = "nats"

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """In nats, 0 or below."""
        return prediction.logp_of(tokens_BP)


@attrs.frozen
class BestPosition(TransferRule):
    """The most confident position, ties to the lowest.

    Source: dlmkit.
    """

    name = "best-position"

    def steps_per_block(self, width: int) -> int:
        """One step for each mask."""
        return width

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The first position of the largest score."""
        lowest = torch.finfo(confidence_BP.dtype).min
        score_BP = confidence_BP.clamp_min(lowest).masked_fill(~view.eligible_BP, -torch.inf)
        best_B1 = score_BP.argmax(dim=1, keepdim=True)
        places_P = torch.arange(confidence_BP.shape[1], device=confidence_BP.device)
        return (places_P == best_B1) & view.eligible_BP


@attrs.frozen
class ExitWhenSure(EarlyExit):
    """Ends the block of a row once its least sure eligible proposal is likely.

    Source: dlmkit.
    """

    name = "exit-when-sure"

    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit | None:
        """Rows whose smallest score exceeds four fifths."""
        least_B = confidence_BP.masked_fill(~view.eligible_BP, torch.inf).amin(dim=1)
        return Exit(rows_B=(least_B > 0.8) & view.eligible_BP.any(dim=1), scope="block")


@attrs.frozen
class ReopenDoubtful(Reviser):
    """Masks every decided position whose token has become unlikely.

    Source: dlmkit.
    """

    name = "reopen-doubtful"
    need = Need(current=True)
    reopens = True

    def revise(self, prediction: Prediction, view: View) -> Revision | None:
        """Positions of the window that now have a probability below one in a hundred."""
        logp_BP = prediction.pack.current_logp_BP
        if logp_BP is None:
            return None
        step_BP = view.canvas.commit_step_BN.gather(1, view.positions_BP)
        # What this very pass decided was still a mask when it was rated.
        earlier_BP = ~view.masked_BP & (step_BP >= 0) & (step_BP < view.step)
        return Revision(
            where_BP=earlier_BP & view.inside_BP & (logp_BP < math.log(0.01)),
            tokens_BP=torch.full_like(view.tokens_BP, view.canvas.mask_id),
        )


@attrs.frozen
class Refresh(CachePolicy):
    """Computes everything in every pass, and stores it without ever reading it.

    Source: dlmkit.
    """

    name = "recompute"

    def plan(self, view: View) -> Plan:
        """A whole pass that is kept."""
        return Plan.full(view.tokens_BN, commit=True)


@attrs.frozen
class SameInput(InputTransform):
    """Feeds the canvas as it is.

    Source: dlmkit.
    """

    name = "same-input"

    def apply(self, ids_BN: Tensor, view: View) -> Tensor:
        """The very same ids."""
        return ids_BN


PLAIN: tuple[type[Component], ...] = (
    FoursInOrder,
    BestToken,
    TokenScore,
    TokenLogScore,
    BestPosition,
    ExitWhenSure,
    ReopenDoubtful,
    Refresh,
    SameInput,
)
"""Every plain component, the one to prefer first for each role."""
