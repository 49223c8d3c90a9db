"""Arithmetic word problems of one to three operations, answered with worked steps.

An answer is one equation per line and then `#### result`, as in GSM8K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from dlmkit.builtin.tasks.example import Example
from dlmkit.builtin.tasks.words import BOYS, GIRLS, OBJECTS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["word_problem"]

LARGEST = 120
"""No amount in a problem exceeds this."""


@attrs.define
class Story:
    """A problem being written: who owns what, the text so far, and the worked steps."""

    rng: random.Random
    owner: str
    pronoun: str
    other: str
    things: str
    amount: int = 0
    sentences: list[str] = attrs.Factory(list)
    steps: list[str] = attrs.Factory(list)

    def calculate(self, left: int, sign: str, right: int) -> int:
        """Work out one step, remember it, and make its result the current amount."""
        self.amount = {"+": left + right, "-": left - right, "*": left * right}[sign]
        self.steps.append(f"{left}{sign}{right}={self.amount}")
        return self.amount


def word_problem(rng: random.Random) -> Example:
    """One word problem; two thirds have two operations."""
    write = rng.choices([scene for scene, _ in _SCENES], [weight for _, weight in _SCENES])[0]
    story = _new_story(rng)
    question = write(story)
    count = len(story.steps)
    return Example(
        task="word problems",
        kind=f"{count} operation" + "s" * (count > 1),
        prompt=" ".join([*story.sentences, question]),
        answer="\n".join([*story.steps, f"#### {story.amount}"]),
        size=count,
    )


def _new_story(rng: random.Random) -> Story:
    names, pronoun = rng.choice(((BOYS, "He"), (GIRLS, "She")))
    owner = rng.choice(names)
    other = rng.choice([name for name in BOYS + GIRLS if name != owner])
    return Story(rng=rng, owner=owner, pronoun=pronoun, other=other, things=rng.choice([*OBJECTS]))


def _changes(story: Story) -> str:
    """Something owned at first, then one to three gains and losses."""
    _start(story)
    count = story.rng.choices((1, 2, 3), (15, 70, 15))[0]
    clauses = [_change(story) for _ in range(count)]
    _tell(story, clauses)
    return _ask(story)


def _start(story: Story) -> None:
    """State the amount owned at first."""
    rng = story.rng
    story.amount = rng.randint(2, 30)
    verb = rng.choice(("has", "has", "has", "had", "buys", "finds", "collects"))
    story.sentences.append(f"{story.owner} {verb} {story.amount} {story.things}.")


_GAINS = (
    "buys {n} more",
    "buys {n} more {things}",
    "finds {n} more",
    "finds {n} {things}",
    "gets {n} more",
    "gets {n} from {other}",
    "gets {n} more from {other}",
    "receives {n} more",
    "collects {n} more",
    "adds {n} more",
)
_LOSSES = (
    "gives {n} to {other}",
    "gives {n} {things} to {other}",
    "gives away {n}",
    "gives {n} away",
    "loses {n}",
    "loses {n} of them",
    "sells {n}",
    "sells {n} {things}",
    "drops {n}",
    "throws away {n}",
)


def _change(story: Story) -> str:
    """One gain or loss, as a clause without its subject."""
    rng = story.rng
    gain = story.amount < 3 or (story.amount < LARGEST - 20 and rng.random() < 0.5)
    n = rng.randint(1, 15) if gain else rng.randint(1, min(15, story.amount - 1))
    story.calculate(story.amount, "+" if gain else "-", n)
    clause = rng.choice(_GAINS if gain else _LOSSES)
    things = story.things if n > 1 else OBJECTS[story.things]
    return clause.format(n=n, things=things, other=story.other)


def _tell(story: Story, clauses: list[str]) -> None:
    """The clauses as sentences: one each, or the first two joined."""
    rng = story.rng
    if len(clauses) > 1 and rng.random() < 0.5:
        joint = rng.choice((" and ", " and then ", ", then "))
        clauses = [joint.join(clauses[:2]), *clauses[2:]]
    for index, clause in enumerate(clauses):
        subject = rng.choice((story.pronoun, story.pronoun, story.owner))
        if index and rng.random() < 0.4:
            subject = f"Then {subject if subject == story.owner else subject.lower()}"
        story.sentences.append(f"{subject} {clause}.")


def _ask(story: Story) -> str:
    """The question about what the owner has in the end."""
    owner = story.rng.choice((story.owner, story.owner, story.pronoun.lower()))
    return story.rng.choice(
        (
            f"How many {story.things} does {owner} have now?",
            f"How many {story.things} does {owner} have now?",
            f"How many {story.things} does {owner} have left?",
            f"How many {story.things} does {owner} have?",
            f"How many {story.things} does {owner} have in the end?",
            f"How many does {owner} have now?",
            f"How many {story.things} are left?",
        )
    )


def _groups(story: Story) -> str:
    """Equal groups, sometimes followed by one gain or loss."""
    rng = story.rng
    groups, each = rng.randint(2, 9), rng.randint(2, 9)
    box = rng.choice(("boxes", "bags", "packs", "baskets"))
    verb = rng.choice(("has", "buys", "finds", "gets"))
    tail = rng.choice(
        (
            f"{groups} {box} with {each} {story.things} each",
            f"{groups} {box} of {each} {story.things}",
            f"{groups} {box}. Each has {each} {story.things}",
        )
    )
    story.sentences.append(f"{story.owner} {verb} {tail}.")
    story.calculate(groups, "*", each)
    if rng.random() < 0.85:
        _tell(story, [_change(story)])
    return _ask(story)


def _comparison(story: Story) -> str:
    """One person has more, fewer or several times as many; the sum is asked, or one part."""
    rng = story.rng
    first = rng.randint(3, 25)
    relation, sign, n = rng.choice(
        (
            ("{n} more {things} than {other}", "+", rng.randint(1, 15)),
            ("{n} fewer {things} than {other}", "-", rng.randint(1, first - 1)),
            ("{n} times as many {things} as {other}", "*", rng.randint(2, 3)),
        )
    )
    story.sentences.append(f"{story.other} has {first} {story.things}.")
    relation = relation.format(n=n, things=story.things, other=story.other)
    story.sentences.append(f"{story.owner} has {relation}.")
    second = story.calculate(first, sign, n)
    if rng.random() < 0.15:
        return f"How many {story.things} does {story.owner} have?"
    story.calculate(first, "+", second)
    manner = rng.choice(("together", "in total", "altogether"))
    return f"How many {story.things} do they have {manner}?"


def _purchase(story: Story) -> str:
    """Several things at one price, paid with a larger amount or beside another thing."""
    rng = story.rng
    price, count = rng.randint(2, 9), rng.randint(2, 9)
    thing = OBJECTS[story.things]
    article = "An" if thing[0] in "aeiou" else "A"
    story.sentences.append(f"{article} {thing} costs {price} dollars.")
    total = price * count
    story.calculate(price, "*", count)
    if rng.random() < 0.5:
        paid = rng.choice([n for n in (20, 50, 100) if n > total])
        pays = rng.choice((f"pays with {paid} dollars", f"pays {paid} dollars"))
        story.sentences.append(f"{story.owner} buys {count} {story.things} and {pays}.")
        story.calculate(paid, "-", total)
        return rng.choice(
            ("How much change does {} get?", "How many dollars does {} get back?")
        ).format(rng.choice((story.owner, story.pronoun.lower())))
    extra = rng.randint(1, 15)
    story.sentences.append(
        f"{story.owner} buys {count} {story.things} and a bag for {extra} dollars."
    )
    story.calculate(total, "+", extra)
    return f"How many dollars does {story.owner} pay?"


_SCENES: tuple[tuple[Callable[[Story], str], int], ...] = (
    (_changes, 55),
    (_groups, 15),
    (_comparison, 18),
    (_purchase, 12),
)
