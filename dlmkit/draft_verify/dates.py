"""When a cache first saw each token, which is not when that was decided.

The text of a draft-verify decode grows by guesses and leaps; a cache goes by its own passes, and
may have to forget some of them.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas

__all__ = ["Dates"]


@attrs.frozen(eq=False)
class Dates:
    """The text of each row's last pass, `seen_BN` int64, and since when its tokens stood there.

    `date_BN` int32 counts passes; it is -1 where text was given.
    """

    seen_BN: Tensor
    date_BN: Tensor

    @classmethod
    def of(cls, canvas: Canvas) -> Dates:
        """What a canvas says itself."""
        return cls(canvas.tokens_BN, canvas.commit_step_BN)

    def dated(self, canvas: Canvas, step: int) -> Canvas:
        """The canvas with these dates; what was not seen yet was decided just before this step."""
        known_BN = canvas.tokens_BN == self.seen_BN
        date_BN = torch.where(known_BN, self.date_BN, step - 1).masked_fill(canvas.masked_BN, -1)
        return attrs.evolve(canvas, commit_step_BN=date_BN)

    def where(self, rows_B: Tensor, other: Dates) -> Dates:
        """These in the chosen rows, the others elsewhere."""
        rows_B1 = rows_B[:, None]
        return Dates(
            torch.where(rows_B1, self.seen_BN, other.seen_BN),
            torch.where(rows_B1, self.date_BN, other.date_BN),
        )

    def rows(self, index_B: Tensor) -> Dates:
        """Those of other rows."""
        return Dates(self.seen_BN[index_B], self.date_BN[index_B])
