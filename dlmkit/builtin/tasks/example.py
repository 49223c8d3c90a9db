"""What a task generator yields, and the split between training and evaluation prompts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator

import attrs

__all__ = ["MASK", "Example", "Generator", "draw", "is_held_out"]

MASK = "<|mask|>"
"""How a position to be filled is written in an infilling prompt."""

HELD_OUT_SHARE = 16
"""One text in this many belongs to evaluation and never occurs in training."""


@attrs.frozen(kw_only=True)
class Example:
    """A prompt with the only answer that counts as right.

    `kind` names the operation, for accuracy per operation.  `size` counts what makes the
    example harder: list items, or arithmetic operations.  An infilling example has
    `whole_text`: its prompt is the text with `MASK` in places, its answer the full text.
    """

    task: str
    kind: str
    prompt: str
    answer: str
    size: int
    whole_text: bool = False

    @property
    def key(self) -> str:
        """The text that decides on which side of the split the example falls."""
        return self.answer if self.whole_text else self.prompt

    def solved_by(self, completion: str) -> bool:
        """Whether a decoded completion is exactly the answer, outer white space aside."""
        return completion.strip() == self.answer


Generator = Callable[[random.Random], Example]


def is_held_out(key: str) -> bool:
    """Whether a text belongs to evaluation; decided by its hash alone."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % HELD_OUT_SHARE == 0


def draw(generate: Generator, seed: str, *, held_out: bool) -> Iterator[Example]:
    """Endless examples of one side of the split, the same ones for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - examples, not secrets
    while True:
        example = generate(rng)
        if is_held_out(example.key) == held_out:
            yield example
