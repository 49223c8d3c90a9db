"""Audits: what a verifying pass decided about a draft, and where.

Legend: B rows, N canvas positions, E entries, K draft positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

if TYPE_CHECKING:
    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.round import RoundResult

__all__ = ["Audit"]


@attrs.frozen(kw_only=True, eq=False)
class Audit:
    """What a verifying pass decided, where; all bool by canvas position.

    `drafted_BN` what was proposed; of it `kept_BN` stands, `corrected_BN` was replaced, and the
    rest was sent back; `bonus_BN` the verifier decided on its own.  `proposed_BK` and
    `accepted_BK` int64 count entries by draft position, the first of which follows the canvas.
    `lost_B` int64 counts drafted tokens that the bridge could not carry.  `round_B` marks the
    rows for which this ended a round.
    """

    drafted_BN: Tensor
    kept_BN: Tensor
    corrected_BN: Tensor
    bonus_BN: Tensor
    proposed_BK: Tensor
    accepted_BK: Tensor
    round_B: Tensor
    lost_B: Tensor | None = None

    @classmethod
    def of(cls, result: RoundResult) -> Audit:
        """What a round decided."""
        draft, resolution = result.draft, result.resolution
        columns = result.before_BN.shape[1]
        return cls(
            drafted_BN=draft.marks(draft.valid_BE, columns),
            kept_BN=draft.marks(resolution.keep_BE, columns),
            corrected_BN=draft.marks(resolution.correct_BE, columns),
            bonus_BN=result.after_BN != result.written_BN,
            proposed_BK=_by_depth(draft, draft.valid_BE),
            accepted_BK=_by_depth(draft, resolution.keep_BE),
            round_B=result.round.live_B,
            lost_B=draft.lost_B,
        )

    @classmethod
    def of_step(cls, decided_BN: Tensor) -> Audit:
        """What a step of the verifier alone decided."""
        nothing_BN = torch.zeros_like(decided_BN)
        return cls(
            drafted_BN=nothing_BN,
            kept_BN=nothing_BN,
            corrected_BN=nothing_BN,
            bonus_BN=decided_BN,
            proposed_BK=nothing_BN[:, :0].long(),
            accepted_BK=nothing_BN[:, :0].long(),
            round_B=nothing_BN[:, 0],
        )

    @property
    def returned_BN(self) -> Tensor:
        """Positions whose drafts were sent back, bool."""
        return self.drafted_BN & ~self.kept_BN & ~self.corrected_BN


def _by_depth(draft: Draft, where_BE: Tensor) -> Tensor:
    """Chosen entries by draft position, `[B, K]`."""
    depth_BE = draft.of_nodes(draft.depth_BD) - 1
    counts_BK = torch.zeros_like(draft.parent_BD)
    return counts_BK.scatter_add(1, depth_BE, where_BE.long())
