"""The ids of one vocabulary written in another, with every mask in its place.

A token that both vocabularies spell alike goes over one to one, an end of text to an end of text,
anything else by way of its text.  What has no counterpart stays out: no text is ever invented.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dlmkit.models.tokenizer import Tokenizer

__all__ = ["Copy", "Rewriter", "Vocabulary"]

_BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What tokenizers show where bytes are no text by themselves."""


@attrs.frozen(eq=False)
class Vocabulary:
    """A tokenizer with the id of its mask and the ids that end a text, the usual one first."""

    tokenizer: Tokenizer
    mask_id: int
    end_ids: tuple[int, ...] = ()

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return self.tokenizer.decode(ids)

    def is_special(self, token: int) -> bool:
        """Whether the token means something else than its text."""
        return token == self.mask_id or self.text([token]) != self.tokenizer.decode(
            [token], special_tokens=True
        )


@attrs.frozen
class Copy:
    """A row in another vocabulary: its ids, and how many tokens have no counterpart there.

    `gaps` lists the runs of masks: first place in the original, first place here, length.
    """

    ids: tuple[int, ...]
    lost: int
    gaps: tuple[tuple[int, int, int], ...]


@attrs.frozen(eq=False)
class Rewriter:
    """Writes ids of `source` as ids of `target`; what it has found out it remembers."""

    source: Vocabulary
    target: Vocabulary
    _twins: dict[int, int | None] = attrs.field(factory=dict, init=False)

    def copy(self, ids: Sequence[int]) -> Copy:
        """Write a row: masks one for one, text in as many tokens as it takes."""
        made: list[int] = []
        gaps, lost, place = [], 0, 0
        for masked, run in groupby(ids, lambda token: token == self.source.mask_id):
            tokens = list(run)
            if masked:
                gaps.append((place, len(made), len(tokens)))
                made += [self.target.mask_id] * len(tokens)
            else:
                for piece, written in self._pieces(tokens):
                    made += written or ()
                    lost += len(piece) if written is None else 0
            place += len(tokens)
        return Copy(tuple(made), lost, tuple(gaps))

    def fit(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Write a gap that was (partly) filled in as many places as it has.

        Text that takes another number of places than it had is put beside a mask that follows
        it, or else before one; what does not fit there, and all of it where no mask is near, is
        masked again.
        """
        made: list[int] = []
        for masked, run in groupby(ids, lambda token: token == self.source.mask_id):
            tokens = list(run)
            if masked:
                made += [self.target.mask_id] * len(tokens)
                continue
            begin, stop = len(made), len(made) + len(tokens)
            for piece, written in self._pieces(tokens):
                after = len(made) + len(piece) == stop < len(ids)
                before = len(made) == begin > 0
                made += self._placed(written or (), len(piece), after=after, before=before)
        return tuple(made)

    def _placed(
        self, tokens: Sequence[int], places: int, *, after: bool, before: bool
    ) -> list[int]:
        """Tokens in that many places, towards the neighbour that is no mask."""
        masks = [self.target.mask_id] * places
        if len(tokens) == places or after:
            return [*tokens[:places], *masks[len(tokens) :]]
        if before and tokens:
            kept = tokens[-places:]
            return [*masks[len(kept) :], *kept]
        return masks

    def _pieces(self, ids: Sequence[int]) -> Iterator[tuple[list[int], list[int] | None]]:
        """Cut a text: each token with a twin for itself, the others together.

        Gives the ids of each piece and the ids that it becomes; None where it cannot.
        """
        for has_twin, run in groupby(ids, lambda token: self._twin(token) is not None):
            tokens = list(run)
            if has_twin:
                yield from (([token], [self._twins[token] or 0]) for token in tokens)
                continue
            for special, piece in groupby(tokens, self.source.is_special):
                text = list(piece)
                yield text, None if special else self._through_text(text)

    def _twin(self, token: int) -> int | None:
        """The one token of the target that means the same, if there is one."""
        if token not in self._twins:
            self._twins[token] = self._find_twin(token)
        return self._twins[token]

    def _find_twin(self, token: int) -> int | None:
        source, target = self.source, self.target
        spelling = source.tokenizer.token(token)
        found = None if spelling is None else target.tokenizer.token_id(spelling)
        if found is not None and token != source.mask_id and found != target.mask_id:
            same = source.text([token]) == target.text([found])
            if same and source.is_special(token) == target.is_special(found):
                return found
        return target.end_ids[0] if token in source.end_ids and target.end_ids else None

    def _through_text(self, ids: Sequence[int]) -> list[int] | None:
        text = self.source.text(ids)
        if not text or _BROKEN in text:
            return None
        found = self.target.tokenizer.encode(text, special_tokens=False)
        return found if self.target.text(found) == text else None
