"""What was measured of each method: read from and written to docs/reference/methods.json."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path
from typing import Any

import attrs

from dlmkit.builtin.accuracy import Accuracy

DATA = Path(__file__).parent / "reference" / "methods.json"


@attrs.frozen(kw_only=True)
class TaskResult:
    """One task's prompts, first to last: `solved` has 1 where the answer was right.

    `passes` counts the forward passes of all networks that each prompt took part in; the totals
    over all prompts are passes of the model that answers, decoded tokens, fed positions, and
    tokens taken back or replaced.
    """

    solved: str
    passes: tuple[int, ...]
    home: int
    tokens: int
    fed: int
    revised: int

    @property
    def accuracy(self) -> Accuracy:
        """Share of right answers."""
        return Accuracy(self.solved.count("1"), len(self.solved))


@attrs.frozen(kw_only=True)
class Entry:
    """A measured pipeline: `changes` were made to the preset of that name, or to `llada`.

    `spec_id` is that of the changed spec; `refused` says why it does not run on the built-in
    verifier, by task or for all of them (`*`).
    """

    name: str
    changes: tuple[str, ...]
    spec_id: str
    tasks: dict[str, TaskResult]
    refused: dict[str, str] = attrs.field(factory=dict)

    @property
    def prompts(self) -> int:
        """Prompts of all tasks."""
        return sum(len(each.solved) for each in self.tasks.values())

    @property
    def overall(self) -> Accuracy:
        """Right answers of all tasks together."""
        each = [task.accuracy for task in self.tasks.values()]
        return Accuracy(sum(part.solved for part in each), sum(part.total for part in each))

    def mean(self, what: str) -> float:
        """Mean of `passes`, `home`, `tokens`, `fed` or `revised` per prompt."""
        values = [getattr(task, what) for task in self.tasks.values()]
        total = sum(sum(each) if isinstance(each, tuple) else each for each in values)
        return total / self.prompts

    @property
    def tokens_per_pass(self) -> float:
        """Decoded tokens over forward passes."""
        return self.mean("tokens") / self.mean("passes")


@attrs.frozen(kw_only=True)
class Measurements:
    """Everything in the file; `weights` is the SHA-256 of the verifier that was measured."""

    weights: str
    seed: int
    gen_length: int
    prompts: int
    presets: tuple[Entry, ...]
    combinations: tuple[Entry, ...]


def read() -> Measurements:
    """Read the measurements."""
    plain = json.loads(DATA.read_text("utf-8"))
    for kind in ("presets", "combinations"):
        plain[kind] = tuple(_entry(each) for each in plain[kind])
    return Measurements(**plain)


def _entry(plain: dict[str, Any]) -> Entry:
    tasks = {
        name: TaskResult(**(task | {"passes": tuple(task["passes"])}))
        for name, task in plain["tasks"].items()
    }
    return Entry(**(plain | {"tasks": tasks, "changes": tuple(plain["changes"])}))


def write(measured: Measurements) -> None:
    """Write the measurements, one entry in each line."""
    plain = attrs.asdict(measured)
    lists = {}
    for kind in ("presets", "combinations"):
        lines = (json.dumps(entry, separators=(",", ":")) for entry in plain.pop(kind))
        lists[kind] = "[\n" + ",\n".join(lines) + "\n]"
    head = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in plain.items()]
    body = [*head, *(f"{json.dumps(kind)}: {lines}" for kind, lines in lists.items())]
    DATA.write_text("{\n" + ",\n".join(body) + "\n}\n", encoding="utf-8")


def fronts(entries: list[Entry]) -> dict[str, int]:
    """Number of each entry's Pareto front, from 1: fewer passes, more right answers."""
    left, found, number = list(entries), {}, 0
    while left:
        number += 1
        best = [each for each in left if not any(_dominates(other, each) for other in left)]
        found |= {each.name: number for each in best}
        left = [each for each in left if each not in best]
    return found


def _dominates(one: Entry, other: Entry) -> bool:
    a = (-one.mean("passes"), one.overall.rate)
    b = (-other.mean("passes"), other.overall.rate)
    return a != b and a[0] >= b[0] and a[1] >= b[1]


def compared(one: Entry, other: Entry) -> tuple[int, int, float]:
    """Prompts that only one of two entries solves, and how likely chance is behind it.

    Counts prompts that both were measured on; the probability is that of McNemar's exact test,
    two-sided.
    """
    pairs = [
        pair
        for name in one.tasks.keys() & other.tasks.keys()
        for pair in zip(one.tasks[name].solved, other.tasks[name].solved, strict=False)
    ]
    won, lost = pairs.count(("1", "0")), pairs.count(("0", "1"))
    tail = sum(comb(won + lost, k) for k in range(min(won, lost) + 1)) / 2 ** (won + lost)
    return won, lost, min(1.0, 2 * tail)
