"""Components that break exactly one promise of their own role each."""

from __future__ import annotations

import attrs
import torch

from dlmkit.component import StateField
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
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
from tests.testing.bad_components import BAD, best, breaks

__all__ = ["BAD", "breaks"]


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


@breaks("decides with drafts as without")
@attrs.frozen
class Hoarder(CachePolicy):
    """Stores tokens in every pass, and says that it stands still.  Source: dlmkit."""

    name = "hoarder"
    state = (StateField("stored", "bool", 0),)

    def plan(self, view):
        known_BN, stored_BN = ~view.canvas.masked_BN, view.recall(self)["stored"]
        compute_BN = ~stored_BN & view.canvas.inside_BN
        return Plan.of(compute_BN, cached_BN=stored_BN, commit_BN=known_BN)

    def advance(self, outcome):
        return {"stored": ~outcome.view.canvas.masked_BN & outcome.view.canvas.inside_BN}

    def provides(self):
        return "undecided"

    def exact(self):
        return False

    def forks(self):
        return True


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
