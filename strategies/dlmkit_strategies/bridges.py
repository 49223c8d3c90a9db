"""Bridges between vocabularies: a drafter whose tokens are not those of its verifier.

Text is read on the host: tokenizers know nothing of tensors.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import attrs
import torch

from dlmkit.canvas import Canvas
from dlmkit.draft_verify.roles import Bridge, Carried, Ends
from dlmkit.errors import RequestError
from dlmkit_strategies.rewriting import Rewriter, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlmkit.models.tokenizer import Tokenizer
    from dlmkit.network import NetworkInfo

__all__ = ["Retokenize"]


@attrs.frozen
class Retokenize(Bridge):
    """Carry text over as text, and every mask as a mask.

    Tokens that both vocabularies spell alike go over one to one, which keeps their places; other
    text is encoded anew.  A draft that takes another number of places than it had is kept as far
    as it stands beside a mask; what does not fit, or cannot be said, is a mask again and counted.
    Source: DualDiffusion (arXiv:2604.05250) and its code, which drafts in the vocabulary of
    Qwen2.5 and verifies in that of LLaDA.
    """

    name = "retokenize"

    def away(self, canvas: Canvas, ends: Ends) -> Canvas:
        """Write every row in the drafter's tokens; rows may change their lengths."""
        there, _ = _rewriters(ends)
        mask_id, device = there.target.mask_id, canvas.tokens_BN.device
        crossings = [_Crossing.of(there, row, start) for row, start in _rows(canvas)]
        # A finished row has no mask to draft at; it gets one that nobody reads.
        rows = [[*each.ids, *([] if each.gaps else [mask_id])] for each in crossings]
        away = Canvas.create(rows, 0, mask_id, infill=True, device=device)
        away.start_B = torch.tensor([each.start for each in crossings], device=device)
        away.region_width = max(
            len(row) - each.start for row, each in zip(rows, crossings, strict=True)
        )
        away.samples_B = canvas.samples_B
        away.done_B = canvas.done_B | ~canvas.masked_BN.any(dim=1)
        return away

    def home(self, canvas: Canvas, before: Canvas, after: Canvas, ends: Ends) -> Carried:
        """Fit what was written at each run of masks into that run."""
        there, back = _rewriters(ends)
        drafts, tokens, lost = after.tokens_BN.tolist(), canvas.tokens_BN.tolist(), []
        for (row, start), draft, made in zip(_rows(canvas), drafts, tokens, strict=True):
            drafted = kept = 0
            for first, away, length in _Crossing.of(there, row, start).gaps:
                filled = draft[away : away + length]
                fitted = back.fit(filled)
                made[first : first + length] = fitted
                drafted += length - filled.count(after.mask_id)
                kept += length - fitted.count(canvas.mask_id)
            lost.append(drafted - kept)
        device = canvas.tokens_BN.device
        return Carried(
            tokens_BN=torch.tensor(tokens, device=device), lost_B=torch.tensor(lost, device=device)
        )


@attrs.frozen
class _Crossing:
    """A row on the other side: its ids, where decoding began, and its runs of masks.

    What was given and what is decoded cross apart, so that the given part always looks the same
    and blocks begin at the same place of the text.
    """

    ids: tuple[int, ...]
    start: int
    gaps: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, there: Rewriter, row: Sequence[int], start: int) -> _Crossing:
        """Carry a row whose first undecided place was `start`."""
        given, region = there.copy(row[:start]), there.copy(row[start:])
        begin = len(given.ids)
        gaps = ((first + start, away + begin, length) for first, away, length in region.gaps)
        return cls((*given.ids, *region.ids), begin, tuple(gaps))


@lru_cache(maxsize=8)
def _rewriters(ends: Ends) -> tuple[Rewriter, Rewriter]:
    """From home to away, and back."""
    home = _vocabulary(ends.home, ends.home_info)
    away = _vocabulary(ends.away, ends.away_info)
    return Rewriter(home, away), Rewriter(away, home)


def _vocabulary(tokenizer: Tokenizer, info: NetworkInfo) -> Vocabulary:
    """A tokenizer with what its network says of special ids.

    Raises:
        RequestError: nothing says which token is the mask.
    """
    if info.mask_id is None:
        raise RequestError(
            "a bridge needs the mask token of both models, and one of them names none",
            hint="name it: --set models.drafter.mask_id=ID",
        )
    return Vocabulary(tokenizer, info.mask_id, (*info.eos_ids, *info.eot_ids))


def _rows(canvas: Canvas) -> list[tuple[list[int], int]]:
    """Every row without its padding, and its first place that was undecided."""
    columns = canvas.tokens_BN.tolist(), canvas.length_B.tolist(), canvas.start_B.tolist()
    return [(row[:length], start) for row, length, start in zip(*columns, strict=True)]
