"""Batches for training: examples as token ids, and where the targets are.

A batch is a pure function of (seed, step), so that a resumed run sees what an uninterrupted
one would have seen.

Legend: B rows, L sequence positions.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from torch import Tensor

from dlmkit.builtin.tasks import TASKS, Example, draw
from dlmkit.builtin.tokenizer import EOS, chat_prompt, special_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

__all__ = ["Batch", "Batches"]

MIXTURE = {"word problems": 0.38, "lists": 0.40, "choice": 0.13, "infill": 0.09}
"""Share of every task among the examples."""

POOL_BATCHES = 16
"""Batches cut at once from one pool of examples, so that rows of a batch have like lengths."""

CANVASES = ((0.40, 32), (0.05, 64), (0.02, 128))
"""Share of batches whose canvases have this length at least; the rest end just after the text."""


@attrs.frozen(kw_only=True)
class Batch:
    """Token ids of equal length, and which of them belong to an answer.

    Everything after the answer is the end-of-text token, which is an answer token too, as in
    LLaDA's fine-tuning.  `first_pad_B` is the position of the second end-of-text token: what
    follows is easy, and many.
    """

    ids_BL: Tensor
    answer_BL: Tensor
    first_pad_B: Tensor


class Batches:
    """Endless batches of about `tokens` tokens, starting at any step."""

    def __init__(self, tokenizer: Tokenizer, seed: int, tokens: int) -> None:
        self._tokenizer, self._seed, self._tokens = tokenizer, seed, tokens
        self._eos = special_id(tokenizer, EOS)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of a run from one step on."""
        pool, skip = divmod(step, POOL_BATCHES)
        while True:
            yield from self._pool(pool)[skip:]
            pool, skip = pool + 1, 0

    def _pool(self, index: int) -> list[Batch]:
        """The batches of one pool, in random order."""
        rng = random.Random(f"pool {self._seed} {index}")  # noqa: S311
        rows = self._encode(self._examples(index, rng))
        rows.sort(key=lambda row: (len(row[0]) + len(row[1]), rng.random()))
        count = len(rows) // POOL_BATCHES
        batches = [self._batch(rows[i * count : (i + 1) * count], rng) for i in range(POOL_BATCHES)]
        rng.shuffle(batches)
        return batches

    def _examples(self, index: int, rng: random.Random) -> list[Example]:
        """Enough examples for one pool, in the shares of the mixture."""
        total = POOL_BATCHES * self._tokens // 48
        examples: list[Example] = []
        for task, share in MIXTURE.items():
            source = draw(TASKS[task], f"train {self._seed} {index} {task}", held_out=False)
            examples += [next(source) for _ in range(round(total * share))]
        return examples

    def _encode(self, examples: list[Example]) -> list[tuple[list[int], list[int]]]:
        """Prompt and answer ids; a whole text is all answer."""
        prompts = ["" if e.whole_text else chat_prompt(e.prompt) for e in examples]
        encoded = zip(
            self._tokenizer.encode_batch(prompts),
            self._tokenizer.encode_batch([e.answer for e in examples]),
            strict=True,
        )
        return [(prompt.ids, answer.ids) for prompt, answer in encoded]

    def _batch(self, rows: list[tuple[list[int], list[int]]], rng: random.Random) -> Batch:
        """Rows filled with end-of-text up to one common length."""
        length = _length(rows, rng)
        ids_BL = np.full((len(rows), length), self._eos)
        answer_BL = np.zeros((len(rows), length), dtype=bool)
        first_pad_B = np.zeros(len(rows), dtype=int)
        for row, (prompt, answer) in enumerate(rows):
            end = len(prompt) + len(answer)
            ids_BL[row, :end] = prompt + answer
            answer_BL[row, len(prompt) :] = True
            first_pad_B[row] = end + 1
        return Batch(
            ids_BL=torch.from_numpy(ids_BL),
            answer_BL=torch.from_numpy(answer_BL),
            first_pad_B=torch.from_numpy(first_pad_B),
        )


def _length(rows: list[tuple[list[int], list[int]]], rng: random.Random) -> int:
    """A common length that holds every row, with the canvas lengths of `CANVASES`."""
    tight = max(len(prompt) + len(answer) for prompt, answer in rows) + rng.randint(0, 12)
    chance = rng.random()
    for share, canvas in CANVASES:
        if chance < share:
            return max(tight, max(len(prompt) for prompt, _ in rows) + canvas)
        chance -= share
    return tight
