"""A pool of rejected drafts, from which parts are tried again.

Legend: B rows, C sequences of the pool, L tokens of a sequence, T tokens of a draft.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

__all__ = ["NOTHING", "Pool"]

NOTHING = -1
"""No token: fills sequences up."""


@attrs.frozen(eq=False)
class Pool:
    """The newest sequences of every row, `tokens_BCL` int64, the latest first."""

    tokens_BCL: Tensor

    @classmethod
    def empty(cls, rows: int, size: int, length: int, device: torch.device) -> Pool:
        """Nothing but room."""
        return cls(torch.full((rows, size, length), NOTHING, device=device))

    def pushed(self, sequence_BL: Tensor, rows_B: Tensor) -> Pool:
        """The pool after the chosen rows have put in a sequence, and dropped their oldest."""
        longer_BCL = torch.cat((sequence_BL[:, None], self.tokens_BCL), dim=1)
        shifted_BCL = longer_BCL[:, : self.tokens_BCL.shape[1]]
        return Pool(torch.where(rows_B[:, None, None], shifted_BCL, self.tokens_BCL))

    def continuations(self, token_B: Tensor, draft_BT: Tensor) -> tuple[Tensor, Tensor]:
        """What followed a token where it first stood in each sequence but the latest.

        Returns `drafts_BCT`, filled up from the draft in use, and which of them exist, `found_BC`.
        """
        older_BCL, drafted = self.tokens_BCL[:, 1:], draft_BT.shape[1]
        hit_BCL = older_BCL == token_B[:, None, None]
        place_BC1 = hit_BCL.int().argmax(dim=2, keepdim=True)
        after_T = torch.arange(1, drafted + 1, device=token_B.device)
        padded_BCL = torch.nn.functional.pad(older_BCL, (0, drafted), value=NOTHING)
        drafts_BCT = padded_BCL.gather(2, place_BC1 + after_T)
        drafts_BCT = torch.where(drafts_BCT == NOTHING, draft_BT[:, None], drafts_BCT)
        return drafts_BCT, hit_BCL.any(dim=2)
