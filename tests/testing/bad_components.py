"""Components that break exactly one kind of promise each, as a plugin author might write them."""

from __future__ import annotations

import math
from itertools import count

import attrs
import torch

from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.plan import Plan
from dlmkit.roles import (
    Blocks,
    CachePolicy,
    CommitGuard,
    ConfidenceScorer,
    EarlyExit,
    Exit,
    Guide,
    InputTransform,
    LogitsTransform,
    Observer,
    Reviser,
    Revision,
    StopRule,
    TokenSampler,
    TransferRule,
)
from dlmkit.testing.plain import BestPosition
from dlmkit.view import BlockSpan, whole_region

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


@breaks("selects eligible positions")
@attrs.frozen
class Greedy(TransferRule):
    """Selects everything.  Source: dlmkit."""

    name = "greedy"

    def select(self, confidence_BP, view):
        return torch.ones_like(confidence_BP, dtype=torch.bool)


@breaks("selects eligible positions")
@attrs.frozen
class Stretch(CommitGuard):
    """Selects as numbers.  Source: dlmkit."""

    name = "stretch"

    def guard(self, commit_BP, confidence_BP, view):
        return commit_BP.float()


@breaks("selects everything if it says so")
@attrs.frozen
class Wholesome(TransferRule):
    """Says everything and selects one.  Source: dlmkit."""

    name = "wholesome"
    whole = True

    def select(self, confidence_BP, view):
        return best(confidence_BP, view)


@breaks("breaks ties towards the first position")
@attrs.frozen
class LastFirst(TransferRule):
    """Prefers the last of equals.  Source: dlmkit."""

    name = "last-first"

    def select(self, confidence_BP, view):
        best_B1 = confidence_BP.amax(dim=1, keepdim=True)
        tied_BP = (confidence_BP == best_B1) & view.eligible_BP
        return tied_BP & (tied_BP.flip(1).cumsum(1).flip(1) == 1)


@breaks("makes progress")
@attrs.frozen
class Idle(TransferRule):
    """Never commits.  Source: dlmkit."""

    name = "idle"

    def select(self, confidence_BP, view):
        return torch.zeros_like(view.eligible_BP)


@breaks("keeps to the steps it states")
@attrs.frozen
class Optimist(BestPosition):
    """States one step for any block.  Source: dlmkit."""

    name = "optimist"

    def steps_per_block(self, width):
        return 1


@breaks("scores every eligible position")
@attrs.frozen
class Half(ConfidenceScorer):
    """Scores in half precision.  Source: dlmkit."""

    name = "half"

    def score(self, tokens_BP, prediction, view):
        return torch.zeros(tokens_BP.shape, dtype=torch.float16)


@breaks("keeps to its score space")
@attrs.frozen
class Overrated(ConfidenceScorer):
    """Calls log-probabilities probabilities.  Source: dlmkit."""

    name = "overrated"
    need = Need(top=2)
    space = "probability"

    def score(self, tokens_BP, prediction, view):
        return prediction.logp_of(tokens_BP)


@breaks("proposes tokens")
@attrs.frozen
class Beyond(TokenSampler):
    """Proposes what is not in the vocabulary.  Source: dlmkit."""

    name = "beyond"

    def propose(self, prediction, view):
        return torch.full_like(view.tokens_BP, view.info.vocab_size)


@breaks("never proposes the mask")
@attrs.frozen
class MaskLover(TokenSampler):
    """Takes the best token, whatever it is.  Source: dlmkit."""

    name = "mask-lover"

    def propose(self, prediction, view):
        return prediction.filtered.pack.top_ids_BPK[..., 0]


@breaks("proposes the most probable token")
@attrs.frozen
class SecondBest(TokenSampler):
    """Takes the second.  Source: dlmkit."""

    name = "second-best"
    need = Need(top=3)

    def propose(self, prediction, view):
        return prediction.filtered.pack.top_ids_BPK[..., 2]


@breaks("leaves a usable distribution")
@attrs.frozen
class Eraser(LogitsTransform):
    """Forbids every token.  Source: dlmkit."""

    name = "eraser"

    def edit(self, logits_BPV, view):
        return torch.full_like(logits_BPV, -torch.inf)


@breaks("combines to a usable distribution")
@attrs.frozen
class Divider(Guide):
    """Divides by zero.  Source: dlmkit."""

    name = "divider"

    def variants(self, ids_BN, view):
        return (ids_BN,)

    def combine(self, logits, view):
        return logits[0] * 0.0 / 0.0


@breaks("stays inside the region")
@attrs.frozen
class Prompted(Blocks):
    """Includes the prompt.  Source: dlmkit."""

    name = "prompted"

    def current(self, canvas):
        region = whole_region(canvas)
        return attrs.evolve(region, start_B=torch.zeros_like(region.start_B), width=99)


@breaks("covers a mask where one is left")
@attrs.frozen
class Astray(Blocks):
    """Never leaves the first two positions.  Source: dlmkit."""

    name = "astray"

    def current(self, canvas):
        index_B = torch.zeros_like(canvas.start_B)
        return BlockSpan(canvas.start_B, canvas.start_B + 2, index_B, 2)


@breaks("leaves no mask to its left")
@attrs.frozen
class Hasty(Blocks):
    """Begins with the last mask.  Source: dlmkit."""

    name = "hasty"

    def current(self, canvas):
        region = whole_region(canvas)
        last_B = torch.where(canvas.masked_BN, canvas.columns_N, region.start_B[:, None]).amax(1)
        return attrs.evolve(region, start_B=last_B)


@breaks("feeds what is wanted")
@attrs.frozen
class Starver(CachePolicy):
    """Feeds the first position only.  Source: dlmkit."""

    name = "starver"

    def plan(self, view):
        return Plan(feed_BQ=torch.zeros_like(view.tokens_BN[:, :1]))


@breaks("feeds no position twice")
@attrs.frozen
class Stutterer(CachePolicy):
    """Feeds everything twice.  Source: dlmkit."""

    name = "stutterer"

    def plan(self, view):
        feed_BQ = Plan.full(view.tokens_BN).feed_BQ
        return Plan(feed_BQ=torch.cat((feed_BQ, feed_BQ), dim=1))


@breaks("feeds token ids")
@attrs.frozen
class Embedder(InputTransform):
    """Feeds floats.  Source: dlmkit."""

    name = "embedder"

    def apply(self, ids_BN, view):
        return ids_BN.float()


@breaks("says which rows exit")
@attrs.frozen
class Vague(EarlyExit):
    """Answers with a number for each row.  Source: dlmkit."""

    name = "vague"

    def decide(self, prediction, confidence_BP, view):
        return Exit(rows_B=view.progress_B, scope="block")


@breaks("says which rows stop")
@attrs.frozen
class StopEverything(StopRule):
    """One answer for all rows.  Source: dlmkit."""

    name = "stop-everything"

    def stop(self, view):
        return torch.zeros(1, dtype=torch.bool)


@breaks("revises decided positions")
@attrs.frozen
class Overwriter(Reviser):
    """Writes into masks.  Source: dlmkit."""

    name = "overwriter"

    def revise(self, prediction, view):
        return Revision(where_BP=view.inside_BP, tokens_BP=torch.ones_like(view.tokens_BP))


@breaks("changes nothing")
@attrs.frozen
class Meddler(Observer):
    """Writes into the record's tensors.  Source: dlmkit."""

    name = "meddler"

    def step(self, record):
        record.after_BN[:, -1] = 1
