"""Drafting from the text itself: what followed the last few tokens when they stood there before.

Legend: B rows, N canvas positions, E entries.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, Setting

__all__ = ["NgramTable"]


@attrs.frozen
class NgramTable(Drafter):
    """Continue the text before the first mask as it was continued where it stood last.

    The longest match counts, up to `longest` tokens; of several the latest.  No network runs.
    Source: prompt lookup decoding (https://github.com/apoorvumang/prompt-lookup-decoding).
    """

    name = "ngram-table"
    order = "position"

    longest: int = option(3, doc="tokens that are looked up at most", check=at_least(1))
    most: int = option(16, doc="tokens drafted at most in a round", check=at_least(1))

    def alone(self) -> bool:
        """One token after the other."""
        return True

    def begin(self, setting: Setting) -> DraftRun:
        """Nothing to prepare."""
        return _Lookup(self)


@attrs.frozen
class _Lookup(DraftRun):
    table: NgramTable

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """A chain from the first mask on."""
        yield from ()
        canvas, tokens_BN = start.canvas, start.canvas.tokens_BN
        columns_N, last = canvas.columns_N, tokens_BN.shape[1] - 1
        first_B = torch.where(canvas.masked_BN, columns_N, last).amin(dim=1)
        found_B = self._continuation(tokens_BN, canvas.masked_BN, first_B)
        step_E = torch.arange(self.table.most, device=tokens_BN.device)
        position_BE = first_B[:, None] + step_E
        source_BE = found_B[:, None] + step_E
        valid_BE = (found_B >= 0)[:, None] & (step_E < start.budget_B[:, None])
        valid_BE = valid_BE & (source_BE < first_B[:, None]) & (position_BE <= last)
        position_BE = position_BE.clamp_max(last)
        # Only an unbroken run of masks can be written.
        open_BE = canvas.masked_BN.gather(1, position_BE)
        valid_BE = (valid_BE & open_BE).int().cumprod(dim=1).bool()
        return Draft.chain(position_BE, tokens_BN.gather(1, source_BE.clamp(0, last)), valid_BE)

    def _continuation(self, tokens_BN: Tensor, masked_BN: Tensor, first_B: Tensor) -> Tensor:
        """Where the text goes on after the best earlier match, int64; -1: there is none."""
        columns = tokens_BN.shape[1]
        places_N = torch.arange(columns, device=tokens_BN.device)
        length_BN = torch.zeros_like(tokens_BN)
        running_BN = torch.ones_like(masked_BN)
        for back in range(1, self.table.longest + 1):
            wanted_B1 = tokens_BN.gather(1, (first_B - back).clamp_min(0)[:, None])
            here_BN = torch.nn.functional.pad(tokens_BN, (back, 0), value=-1)[:, :columns]
            running_BN = running_BN & (here_BN == wanted_B1) & (first_B >= back)[:, None]
            length_BN = length_BN + running_BN
        length_BN = torch.where(places_N < first_B[:, None], length_BN, 0)
        best_B1 = length_BN.amax(dim=1, keepdim=True)
        latest_B = torch.where(length_BN == best_B1, places_N, -1).amax(dim=1)
        return torch.where(best_B1[:, 0] > 0, latest_B, -1)
