"""Infilling: regular texts with masked places that the rest of the text determines.

A masked word or digit is one mask token.  The text stands alone, without chat markers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.builtin.tasks.example import MASK, Example
from dlmkit.builtin.tasks.words import BOYS, GIRLS, LIST_WORDS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["infilling"]

Parts = tuple[list[str], list[int]]
"""The pieces of a text, and the indices of the pieces that may be hidden together."""


def infilling(rng: random.Random) -> Example:
    """One text with some of its determined pieces hidden."""
    kind, write = rng.choice(_KINDS)
    pieces, hidden = write(rng)
    shown = [_hide(piece) if i in hidden else piece for i, piece in enumerate(pieces)]
    return Example(
        task="infill",
        kind=kind,
        prompt="".join(shown),
        answer="".join(pieces),
        size=len(hidden),
        whole_text=True,
    )


def _hide(piece: str) -> str:
    """A number becomes one mask per digit, a word with its leading space one mask."""
    return MASK * (len(piece) if piece.isdigit() else 1)


def _sequence(rng: random.Random) -> Parts:
    """An arithmetic sequence; two neighbours at least stay visible."""
    terms, step = rng.randint(5, 8), rng.randint(1, 9)
    start = rng.randint(1, 99 - step * (terms - 1))
    numbers = [str(start + step * i) for i in range(terms)]
    if rng.random() < 0.3:
        numbers.reverse()
    kept = rng.randrange(terms - 1)
    free = [i for i in range(terms) if i not in (kept, kept + 1)]
    chosen = rng.sample(free, rng.randint(1, min(4, len(free))))
    return _joined(numbers, " "), [2 * i for i in chosen]


def _joined(words: list[str], gap: str) -> list[str]:
    """The words with the gap between them as pieces of their own."""
    return [piece for word in words for piece in (word, gap)][:-1]


def _cycle(rng: random.Random) -> Parts:
    """Two or three names in turn; every name stays visible somewhere."""
    names = rng.sample(BOYS + GIRLS, rng.randint(2, 3))
    pieces = [("" if i == 0 else " ") + names[i % len(names)] for i in range(3 * len(names))]
    chosen = [i for i in range(1, len(pieces)) if rng.random() < 0.4]
    kept = {rng.choice(range(n, len(pieces), len(names))) for n in range(len(names))}
    return pieces, [i for i in chosen if i not in kept] or [_first_free(kept)]


def _first_free(kept: set[int]) -> int:
    return next(i for i in range(1, len(kept) + 2) if i not in kept)


def _mirror(rng: random.Random) -> Parts:
    """Words, a bar, and the same words backwards; one of each pair may be hidden."""
    words = [f" {word}" for word in rng.sample(LIST_WORDS, rng.randint(2, 5))]
    pieces = ["mirror:", *words, " |", *reversed(words)]
    places = range(1, len(words) + 1)
    hidden = [rng.choice((i, len(pieces) - i)) for i in places if rng.random() < 0.7]
    return pieces, hidden or [1]


def _equation(rng: random.Random) -> Parts:
    """A sum or a difference with one number hidden."""
    a, b = rng.randint(1, 40), rng.randint(1, 20)
    a, result, sign = (a, a + b, "+") if rng.random() < 0.5 else (a + b, a, "-")
    pieces = [str(a), f" {sign}", " ", str(b), " =", " ", str(result)]
    return pieces, [rng.choice((0, 3, 6))]


_KINDS: tuple[tuple[str, Callable[[random.Random], Parts]], ...] = (
    ("sequence", _sequence),
    ("cycle", _cycle),
    ("mirror", _mirror),
    ("equation", _equation),
)
