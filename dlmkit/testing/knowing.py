"""A drafter that knows the answer, but for wrong guesses at known places.

Legend: B rows, E entries.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import attrs
import torch

from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun

if TYPE_CHECKING:
    from dlmkit.accounts.records import StepRecord
    from dlmkit.draft_verify.round import Round, Setting

__all__ = ["Knowing"]

Trace = tuple[tuple[tuple[int, int, int], ...], ...]


@attrs.frozen
class Knowing(Drafter):
    """What a decode is known to lead to, one token after the other in its order.

    `trace` is that of the decode, see `dlmkit.testing.conformance.decoding.Decoded`; its rows are
    numbered as the samples of the canvas are.  Every `wrong`-th guess is the token before the right
    one, which place has its turn hangs on the round.
    Source: dlmkit.
    """

    name = "knowing"

    trace: Trace = ()
    wrong: int = 3

    def alone(self) -> bool:
        """One token after the other."""
        return True

    def begin(self, setting: Setting) -> DraftRun:
        """Begin at the first mask."""
        return _Known(self)


@attrs.frozen
class _Known(DraftRun):
    drafter: Knowing

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """The next tokens of the trace that are masks here, within the budget."""
        yield from ()
        canvas, budget = start.canvas, start.budget_B.tolist()
        order = [change for step in self.drafter.trace for change in step]
        token_BE = canvas.tokens_BN.new_zeros(len(budget), max(budget))
        position_BE, valid_BE = torch.zeros_like(token_BE), token_BE.bool()
        for row, (sample, length) in enumerate(zip(canvas.samples_B.tolist(), budget, strict=True)):
            masked = set(canvas.masked_BN[row].nonzero()[:, 0].tolist())
            left = [change[1:] for change in order if change[0] == sample and change[1] in masked]
            for place, (position, token) in enumerate(left[:length]):
                position_BE[row, place], valid_BE[row, place] = position, True
                token_BE[row, place] = self._guess(token, place + start.number)
        return Draft.chain(position_BE, token_BE, valid_BE)

    def _guess(self, token: int, turn: int) -> int:
        wrong = turn % self.drafter.wrong == self.drafter.wrong - 1
        return token if not wrong else token - 1 if token else 1
