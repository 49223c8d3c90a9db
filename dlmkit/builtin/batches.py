"""Batches for training: examples as token ids, and where the targets are.

A batch is a pure function of (seed, step, mixture), so that a resumed run sees what an
uninterrupted one would have seen.

Legend: B rows, L sequence positions.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from torch import Tensor

from dlmkit.builtin.recipe import LATEST, Mixture
from dlmkit.builtin.tasks import TASKS, Example, draw
from dlmkit.builtin.tasks.drills import drill
from dlmkit.builtin.tokenizer import EOS, chat_prompt, special_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Tokenizer

__all__ = ["Batch", "Batches"]

POOL_BATCHES = 16
"""Batches cut at once from one pool of examples, so that rows of a batch have like lengths."""


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


@attrs.frozen
class Row:
    """Ids and which of them are targets; `ends` makes the padding after them a target too."""

    ids: list[int]
    answer: list[bool]
    ends: bool


class Batches:
    """Endless batches of about `tokens` tokens of a mixture, starting at any step."""

    def __init__(
        self, tokenizer: Tokenizer, seed: int, tokens: int, mixture: Mixture = LATEST
    ) -> None:
        self._tokenizer, self._seed, self._tokens = tokenizer, seed, tokens
        self._mixture = mixture
        self._eos = special_id(tokenizer, EOS)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of a run from one step on."""
        pool, skip = divmod(step, POOL_BATCHES)
        while True:
            yield from self._pool(pool)[skip:]
            pool, skip = pool + 1, 0

    def _pool(self, index: int) -> list[Batch]:
        """The batches of one pool, in random order."""
        rng = random.Random(f"pool {self._seed} {index}")  # noqa: S311 - examples, not secrets
        total = POOL_BATCHES * self._tokens // 48
        rows = [*self._example_rows(index, total), *self._drill_rows(index, total)]
        rows.sort(key=lambda row: (len(row.ids), rng.random()))
        count = len(rows) // POOL_BATCHES
        batches = [self._batch(rows[i * count : (i + 1) * count], rng) for i in range(POOL_BATCHES)]
        rng.shuffle(batches)
        return batches

    def _example_rows(self, index: int, total: int) -> list[Row]:
        """Examples in the shares of the mixture; a whole text is all answer."""
        rng = random.Random(f"easy {self._seed} {index}")  # noqa: S311 - examples, not secrets
        examples: list[Example] = []
        for task, share in self._mixture.tasks.items():
            source = draw(TASKS[task], f"train {self._seed} {index} {task}", held_out=False)
            admitted = (each for each in source if self._mixture.admits(each, rng.random()))
            examples += islice(admitted, round(total * share))
        prompts = ["" if e.whole_text else chat_prompt(e.prompt) for e in examples]
        encoded = zip(
            self._tokenizer.encode_batch(prompts),
            self._tokenizer.encode_batch([e.answer for e in examples]),
            strict=True,
        )
        return [
            Row(prompt.ids + answer.ids, [False] * len(prompt) + [True] * len(answer), ends=True)
            for prompt, answer in encoded
        ]

    def _drill_rows(self, index: int, total: int) -> list[Row]:
        """Equations whose results are the only targets."""
        rng = random.Random(f"drill {self._seed} {index}")  # noqa: S311 - examples, not secrets
        count = round(total * (1 - sum(self._mixture.tasks.values())))
        encoded = self._tokenizer.encode_batch([drill(rng) for _ in range(count)])
        return [Row(each.ids, _results(each.tokens), ends=False) for each in encoded]

    def _batch(self, rows: list[Row], rng: random.Random) -> Batch:
        """Rows filled with end-of-text up to one common length."""
        length = _length(rows, rng, self._mixture.canvases)
        ids_BL = np.full((len(rows), length), self._eos)
        answer_BL = np.zeros((len(rows), length), dtype=bool)
        first_pad_B = np.zeros(len(rows), dtype=int)
        for number, row in enumerate(rows):
            end = len(row.ids)
            ids_BL[number, :end] = row.ids
            answer_BL[number, :end] = row.answer
            answer_BL[number, end:] = row.ends
            first_pad_B[number] = end + 1
        return Batch(
            ids_BL=torch.from_numpy(ids_BL),
            answer_BL=torch.from_numpy(answer_BL),
            first_pad_B=torch.from_numpy(first_pad_B),
        )


def _results(tokens: list[str]) -> list[bool]:
    """Which tokens of a drill stand between an equals sign and the end of its line."""
    inside, found = False, []
    for piece in tokens:
        inside = inside and piece.isdigit()
        found.append(inside)
        inside = inside or piece == "="
    return found


def _length(rows: list[Row], rng: random.Random, canvases: Sequence[tuple[float, int]]) -> int:
    """A common length that holds every row, with the canvas lengths of the mixture."""
    tight = max(len(row.ids) for row in rows) + rng.randint(0, 12)
    chance = rng.random()
    for share, canvas in canvases:
        if chance < share:
            prompts = [row.answer.index(True) for row in rows if row.ends]
            return max(tight, max(prompts, default=0) + canvas)
        chance -= share
    return tight
