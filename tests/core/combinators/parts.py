"""Parts that say what they are told, to see what combinators make of it.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import torch

from dlmkit.combinators import Condition
from dlmkit.component import option
from dlmkit.roles import (
    CommitGuard,
    ConfidenceScorer,
    EarlyExit,
    Exit,
    InputTransform,
    LogitsTransform,
    Reviser,
    Revision,
    StopRule,
    TokenSampler,
    TransferRule,
)

ODD = torch.tensor([[False, True, False, True], [False, True, False, True]])


def view(**changes):
    """Two rows of four positions: half done and not begun."""
    values = {
        "eligible_BP": torch.ones(2, 4, dtype=torch.bool),
        "progress_B": torch.tensor([0.5, 0.0]),
        "block": SimpleNamespace(index_B=torch.tensor([1, 0])),
        "samples_B": torch.tensor([10, 11]),
        "taken": 3,
    }
    return SimpleNamespace(**(values | changes))


@attrs.frozen
class Fixed(TransferRule):
    """Selects the positions it is given, in every row."""

    name = "fixed"
    where: tuple[bool, ...] = option(doc="positions")
    steps: int | None = option(None, doc="fixed steps")

    def select(self, confidence_BP, view):
        return torch.tensor(self.where).expand_as(confidence_BP)

    def steps_per_block(self, width):
        return self.steps


@attrs.frozen
class Waiting(Fixed):
    """May select nothing."""

    name = "waiting"
    may_wait = True


@attrs.frozen
class Rows(StopRule):
    """Stops the rows it is given."""

    name = "rows"
    which: tuple[bool, bool] = option(doc="rows")

    def stop(self, view):
        return torch.tensor(self.which)


@attrs.frozen
class Leaves(EarlyExit):
    """Exits the rows it is given, or has nothing to say."""

    name = "leaves"
    which: tuple[bool, bool] | None = option(doc="rows")

    def decide(self, prediction, confidence_BP, view):
        return Exit(torch.tensor(self.which), "canvas") if self.which else None


@attrs.frozen
class Plus(LogitsTransform):
    """Adds a number."""

    name = "plus"
    number: float = option(doc="the number")

    def edit(self, logits_BPV, view):
        return logits_BPV + self.number


@attrs.frozen
class Sampling(Plus):
    """Adds a number for the sampler only."""

    name = "sampling-plus"
    stage = "sampling"


@attrs.frozen
class Drop(CommitGuard):
    """Commits nothing."""

    name = "drop"

    def guard(self, commit_BP, confidence_BP, view):
        return torch.zeros_like(commit_BP)


@attrs.frozen
class Everything(CommitGuard):
    """Commits everything."""

    name = "everything"

    def guard(self, commit_BP, confidence_BP, view):
        return torch.ones_like(commit_BP)


@attrs.frozen
class Says(TokenSampler):
    """Proposes one token."""

    name = "says"
    token: int = option(doc="the token")

    def propose(self, prediction, view):
        return torch.full((2, 4), self.token)


@attrs.frozen
class Scores(ConfidenceScorer):
    """One score."""

    name = "scores"
    space = "probability"
    value: float = option(doc="the score")

    def score(self, tokens_BP, prediction, view):
        return torch.full((2, 4), self.value)


@attrs.frozen
class Nats(Scores):
    """The same number in another unit."""

    name = "nats"
    space = "nats"


@attrs.frozen
class Reopen(Reviser):
    """Reopens everything."""

    name = "reopen"
    sees = "before"

    def revise(self, prediction, view):
        return Revision(torch.ones(2, 4, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.int64))


@attrs.frozen
class Zero(InputTransform):
    """Feeds zeros."""

    name = "zero"

    def apply(self, ids_BN, view):
        return torch.zeros_like(ids_BN)


LEFT = Fixed((True, True, False, False))
RIGHT = Fixed((False, True, True, False))
NOTHING = Waiting((False,) * 4, steps=8)
SURE = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
HALF_DONE = Condition(progress=(0.5, None))
"""Holds in the first row only."""
