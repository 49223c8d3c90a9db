"""Components that break exactly one promise of every strategy, as an author might write them."""

from __future__ import annotations

import math
from itertools import count

import attrs
import torch

from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.roles import (
    CommitGuard,
    ConfidenceScorer,
    LogitsTransform,
    StopRule,
    TokenSampler,
    TransferRule,
)
from dlmkit.testing.plain import BestPosition

TURNS = count()
"""Makes a result depend on how often somebody has asked."""

BAD = []
"""Pairs of a component and the promise that it breaks."""


def breaks(promise, **options):
    """Name the promise that a class breaks."""

    def collect(cls):
        BAD.append((cls(**options), promise))
        return cls

    return collect


def best(confidence_BP, view):
    return BestPosition().select(confidence_BP, view)


@breaks("documents every option")
@attrs.frozen
class Undocumented(BestPosition):
    """A rule.  Source: dlmkit."""

    name = "undocumented"
    extra: int = 3


@breaks("names its source")
@attrs.frozen
class Anonymous(BestPosition):
    """A rule from nowhere."""

    name = "anonymous"


@breaks("has valid options")
@attrs.frozen
class BadDefault(BestPosition):
    """A rule.  Source: dlmkit."""

    name = "bad-default"
    count: int = option(1, doc="a number")

    @classmethod
    def check_options(cls, options):
        yield "count", "does not fit", "choose another"


@breaks("is frozen")
@attrs.define(unsafe_hash=True)
class Thawed(TransferRule):
    """A rule.  Source: dlmkit."""

    name = "thawed"
    count: int = option(1, doc="a number")

    def select(self, confidence_BP, view):
        return best(confidence_BP, view)


@breaks("equals its twin")
@attrs.frozen(eq=False)
class Unequal(TransferRule):
    """A rule.  Source: dlmkit."""

    name = "unequal"

    def select(self, confidence_BP, view):
        return best(confidence_BP, view)


@breaks("survives a spec", limit=math.inf)
@attrs.frozen
class Boundless(BestPosition):
    """Has an option that no spec can hold.  Source: dlmkit."""

    name = "boundless"
    limit: float = option(1.0, doc="a number")


@breaks("writes to no input")
@attrs.frozen
class Writer(LogitsTransform):
    """Edits in place.  Source: dlmkit."""

    name = "writer"

    def edit(self, logits_BPV, view):
        return logits_BPV.mul_(0.5)


@breaks("gives the same result twice")
@attrs.frozen
class Moody(ConfidenceScorer):
    """Scores whatever comes next.  Source: dlmkit."""

    name = "moody"

    def score(self, tokens_BP, prediction, view):
        return torch.full(tokens_BP.shape, next(TURNS) / 97)


@breaks("gives a row what it gives it alone")
@attrs.frozen
class Sociable(ConfidenceScorer):
    """Scores against the batch.  Source: dlmkit."""

    name = "sociable"
    need = Need(top=1)

    def score(self, tokens_BP, prediction, view):
        score_BP = prediction.pack.top_logp_BPK[..., 0]
        return score_BP - score_BP.mean()


@breaks("works for a row with nothing eligible")
@attrs.frozen
class Fragile(StopRule):
    """Needs a mask in the block.  Source: dlmkit."""

    name = "fragile"

    def stop(self, view):
        if not view.eligible_BP.any():
            raise IndexError("no mask")
        return torch.zeros(len(view.tokens_BN), dtype=torch.bool)


@breaks("reads nothing on the host")
@attrs.frozen
class Curious(CommitGuard):
    """Asks for a value.  Source: dlmkit."""

    name = "curious"

    def guard(self, commit_BP, confidence_BP, view):
        return commit_BP & bool(commit_BP.any().item())


@breaks("keeps its tensors on one device")
@attrs.frozen
class Homebound(CommitGuard):
    """Makes a tensor wherever PyTorch likes.  Source: dlmkit."""

    name = "homebound"

    def guard(self, commit_BP, confidence_BP, view):
        return commit_BP & torch.ones(commit_BP.shape, dtype=torch.bool)


@breaks("reads only what it declares")
@attrs.frozen
class Undeclared(ConfidenceScorer):
    """Reads the entropy without saying so.  Source: dlmkit."""

    name = "undeclared"

    def score(self, tokens_BP, prediction, view):
        entropy_BP = prediction.pack.entropy_BP
        return torch.zeros(tokens_BP.shape) if entropy_BP is None else -entropy_BP


@breaks("keeps its state as declared")
@attrs.frozen
class Forgetful(BestPosition):
    """Returns a state of another type.  Source: dlmkit."""

    name = "forgetful"
    state = (StateField("age", "int64", 0),)

    def advance(self, outcome):
        return {"age": outcome.view.recall(self)["age"].float()}


@breaks("decodes to the end")
@attrs.frozen
class Deserter(StopRule):
    """Fills the region with nothing: a stop rule that raises late.  Source: dlmkit."""

    name = "deserter"

    def stop(self, view):
        if view.step > 2:
            raise RuntimeError("enough")
        return torch.zeros(len(view.tokens_BN), dtype=torch.bool)


@breaks("decodes alike with the same seed")
@attrs.frozen
class Dice(TokenSampler):
    """Proposes whatever comes next.  Source: dlmkit."""

    name = "dice"

    def propose(self, prediction, view):
        return torch.full_like(view.tokens_BP, next(TURNS) % 19)


@breaks("decodes a row as it does alone")
@attrs.frozen
class Crowd(BestPosition):
    """Decodes faster in company.  Source: dlmkit."""

    name = "crowd"

    def select(self, confidence_BP, view):
        return view.eligible_BP if len(view.tokens_BN) == 3 else best(confidence_BP, view)
