"""Four-way multiple choice, answered by one letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.builtin.tasks.example import Example
from dlmkit.builtin.tasks.words import CATEGORIES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["multiple_choice"]

Question = tuple[str, str, list[str]]
"""The question, the right option and three wrong ones."""


def multiple_choice(rng: random.Random) -> Example:
    """One question with four shuffled options."""
    kind, ask = rng.choice(_KINDS)
    question, right, wrong = ask(rng)
    options = [right, *wrong]
    rng.shuffle(options)
    listed = " ".join(f"{letter}) {text}" for letter, text in zip("ABCD", options, strict=True))
    return Example(
        task="choice",
        kind=kind,
        prompt=f"{question} {listed}",
        answer="ABCD"[options.index(right)],
        size=len(options),
    )


def _largest(rng: random.Random) -> Question:
    *wrong, right = sorted(rng.sample(range(1, 100), 4))
    return "Which number is the largest?", str(right), [str(n) for n in wrong]


def _smallest(rng: random.Random) -> Question:
    right, *wrong = sorted(rng.sample(range(1, 100), 4))
    return "Which number is the smallest?", str(right), [str(n) for n in wrong]


def _odd_one_out(rng: random.Random) -> Question:
    common, other = rng.sample(list(CATEGORIES), 2)
    wrong = rng.sample(CATEGORIES[common], 3)
    return "Which is the odd one out?", rng.choice(CATEGORIES[other]), wrong


def _member(rng: random.Random) -> Question:
    category, *others = rng.sample(list(CATEGORIES), 4)
    article = "an" if category[0] in "aeiou" else "a"
    wrong = [rng.choice(CATEGORIES[other]) for other in others]
    return f"Which is {article} {category}?", rng.choice(CATEGORIES[category]), wrong


def _sum(rng: random.Random) -> Question:
    a, b = rng.randint(1, 20), rng.randint(1, 20)
    total = a + b
    near = [n for n in range(max(1, total - 6), total + 7) if n != total]
    return f"What is {a} + {b}?", str(total), [str(n) for n in rng.sample(near, 3)]


_KINDS: tuple[tuple[str, Callable[[random.Random], Question]], ...] = (
    ("largest", _largest),
    ("smallest", _smallest),
    ("odd one out", _odd_one_out),
    ("member", _member),
    ("sum", _sum),
)
