"""List operations: copy, reverse, sort, replace, insert, remove on 2 to 10 items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.builtin.tasks.example import Example
from dlmkit.builtin.tasks.words import LETTERS, LIST_WORDS

if TYPE_CHECKING:
    import random

__all__ = ["OPERATIONS", "list_operation"]

OPERATIONS = ("copy", "reverse", "sort", "replace", "insert", "remove")

_PLAIN_PROMPTS = {
    "copy": ("copy: {items}", "repeat the list: {items}"),
    "reverse": ("reverse: {items}", "reverse the list: {items}"),
    "sort": ("sort: {items}", "sort the list: {items}"),
}
_POOLS = {
    "digits": tuple("0123456789"),
    "numbers": tuple(str(n) for n in range(10, 100)),
    "letters": tuple(LETTERS),
    "words": LIST_WORDS,
}


def list_operation(rng: random.Random) -> Example:
    """One list operation with a random operation, item type and length."""
    operation = rng.choice(OPERATIONS)
    pool = _pool(rng, operation)
    items = [rng.choice(pool) for _ in range(_length(rng, operation))]
    prompt, result = _apply(rng, operation, items, pool)
    return Example(
        task="lists", kind=operation, prompt=prompt, answer=" ".join(result), size=len(items)
    )


def _pool(rng: random.Random, operation: str) -> tuple[str, ...]:
    """What the items are drawn from; words are never sorted."""
    names = ["digits", "digits", "digits", "numbers", "letters"] + ["words"] * (operation != "sort")
    return _POOLS[rng.choice(names)]


def _length(rng: random.Random, operation: str) -> int:
    """Mostly 2 to 8 items, sometimes 9 or 10; an insertion leaves room for its item."""
    longest = 10 if rng.random() < 0.05 else 8
    return rng.randint(2, longest - (operation == "insert"))


def _apply(
    rng: random.Random, operation: str, items: list[str], pool: tuple[str, ...]
) -> tuple[str, list[str]]:
    """The prompt of an operation on the items, and the resulting items."""
    listed = " ".join(items)
    match operation:
        case "replace":
            old, new = rng.choice(items), rng.choice(pool)
            result = [new if item == old else item for item in items]
            return f"replace {old} with {new}: {listed}", result
        case "insert":
            new, place = rng.choice(pool), rng.randint(1, len(items) + 1)
            result = [*items[: place - 1], new, *items[place - 1 :]]
            return f"insert {new} at {place}: {listed}", result
        case "remove":
            return _remove(rng, items, pool)
        case _:
            prompt = rng.choice(_PLAIN_PROMPTS[operation]).format(items=listed)
            return prompt, _rearranged(operation, items)


def _rearranged(operation: str, items: list[str]) -> list[str]:
    if operation == "reverse":
        return items[::-1]
    return sorted(items) if operation == "sort" else list(items)


def _remove(rng: random.Random, items: list[str], pool: tuple[str, ...]) -> tuple[str, list[str]]:
    """Removal of every occurrence of one item; something always remains."""
    if len(set(items)) == 1:
        items = [*items[:-1], rng.choice([other for other in pool if other != items[0]])]
    target = rng.choice(items)
    prompt = f"remove {target}: {' '.join(items)}"
    return prompt, [item for item in items if item != target]
