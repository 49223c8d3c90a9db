"""Schedules: how many steps each row drafts before the verifier is asked.

Legend: B rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.draft_verify.roles import DraftSchedule
from dlmkit.draft_verify.round import Round, RoundResult
from dlmkit.outcome import Outcome
from dlmkit_strategies.kernels import ends_text

__all__ = ["AdaptiveLength", "EveryBlocks", "Fixed", "GrowAndShrink", "MultiBlock", "UntilUnsure"]

_STEPS = "drafting steps in a round"


@attrs.frozen
class Fixed(DraftSchedule):
    """The same number of steps in every round.

    Source: DualDiffusion (arXiv:2604.05250).
    """

    name = "fixed"

    steps: int = option(4, doc=_STEPS, check=at_least(1))

    def start(self) -> float:
        """That number."""
        return self.steps


@attrs.frozen
class Bounded(DraftSchedule):
    """What schedules have in common that learn from round to round, between two bounds."""

    first: int = option(4, doc="steps in the first round", check=at_least(1))
    least: int = option(1, doc="fewest steps", check=at_least(1))
    most: int = option(16, doc="most steps", check=at_least(1))

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """The bounds must be in order."""
        least, most = options["least"], options["most"]
        if least is not None and most is not None and least > most:
            yield "least", f"least {least} is greater than most {most}", "swap them"


@attrs.frozen
class GrowAndShrink(Bounded):
    """One step more after a draft that was kept whole, fewer after one that failed.

    Source: the heuristic schedule of assisted generation in transformers (+2, -1), and additive
    increase as in arXiv:2211.17192.
    """

    name = "aimd"

    more: int = option(1, doc="steps added after a draft that was kept whole", check=at_least(1))
    less: int = option(1, doc="steps taken off after one that was not", check=at_least(1))

    def start(self) -> float:
        """The first round's number."""
        return min(max(self.first, self.least), self.most)

    def after(self, level_B: Tensor, result: RoundResult) -> Tensor:
        """Up or down in rows that drafted."""
        moved_B = torch.where(result.whole_B, level_B + self.more, level_B - self.less)
        return torch.where(result.proposed_B > 0, moved_B.clamp(self.least, self.most), level_B)


@attrs.frozen
class AdaptiveLength(Bounded):
    """A moving average of what the drafter had to say, and more where as much was kept.

    What it had to say are the tokens before the first that ends the text, or all; a second average
    is of what was kept, and while it is no smaller, the next draft is `beyond` longer than the
    first average, rounded down.  Both begin at nothing.
    Source: DiffuSpec (arXiv:2510.02358), adaptive draft-length controller; rho, delta.
    """

    name = "adl"

    share: float = option(
        0.5, doc="weight of the latest round in the averages", check=(above(0), at_most(1))
    )
    beyond: int = option(1, doc="steps more where all was kept", check=at_least(0))

    def start(self) -> tuple[float, ...]:
        """Both averages, and the number of steps."""
        return 0.0, 0.0, min(max(self.first, self.least), self.most)

    def after(self, level_BL: Tensor, result: RoundResult) -> Tensor:
        """Move the averages in rows that drafted."""
        kept_B, said_B = result.kept_B.to(level_BL), _before_the_end(result).to(level_BL)
        latest_BL = torch.stack((said_B, kept_B), dim=1)
        means_BL = torch.lerp(level_BL[:, :2], latest_BL, self.share)
        more_B = self.beyond * (means_BL[:, 1] >= means_BL[:, 0])
        steps_B = (means_BL[:, 0].floor() + more_B).clamp(self.least, self.most)
        moved_BL = torch.cat((means_BL, steps_B[:, None]), dim=1)
        return torch.where((result.proposed_B > 0)[:, None], moved_BL, level_BL)

    def budget(self, level_BL: Tensor) -> Tensor:
        """The last number."""
        return level_BL[:, 2].long()


def _before_the_end(result: RoundResult) -> Tensor:
    """Positions that were drafted before the first token that ends the text, int64."""
    raw, canvas = result.raw, result.round.canvas
    columns = canvas.tokens_BN.shape[1]
    drafted_BN = raw.marks(raw.valid_BE, columns)
    text_BN = raw.written(canvas, raw.valid_BE)
    ends_BN = drafted_BN & ends_text(text_BN, result.evidence.root.info)
    return (drafted_BN & (ends_BN.cumsum(dim=1) == 0)).sum(dim=1)


@attrs.frozen
class UntilUnsure(DraftSchedule):
    """Draft on while the drafter is sure of what it writes.

    Source: the confidence stop of assisted generation in transformers, whose threshold is 0.4.
    """

    name = "lowconf-stop"

    threshold: float = option(
        0.4, doc="confidence of a step's least sure token below which drafting ends"
    )
    most: int = option(16, doc="most steps", check=at_least(1))

    def start(self) -> float:
        """The bound."""
        return self.most

    def goes_on(self, outcome: Outcome, start: Round) -> Tensor:
        """Rows whose least sure new token is sure enough."""
        sure_BP = torch.where(outcome.commit_BP, outcome.confidence_BP, torch.inf)
        return sure_BP.amin(dim=1) >= self.threshold


@attrs.frozen
class EveryBlocks(DraftSchedule):
    """Draft until so many of the drafter's blocks are filled.

    Source: dlmkit, after the block-wise verification of DualDiffusion's code.
    """

    name = "every-k-blocks"

    blocks: int = option(1, doc="blocks filled in a round", check=at_least(1))
    most: int = option(64, doc="most steps", check=at_least(1))

    def start(self) -> float:
        """The bound."""
        return self.most

    def goes_on(self, outcome: Outcome, start: Round) -> Tensor:
        """Rows with a mask left in the blocks of this round."""
        view, canvas = outcome.view, start.canvas
        masked_BN = outcome.after_BN == canvas.mask_id
        width = view.block.width
        first_B = _first_mask(canvas.tokens_BN, canvas)
        begin_B = first_B - (first_B - canvas.start_B) % width
        within_BN = canvas.columns_N < (begin_B + self.blocks * width)[:, None]
        return (masked_BN & within_BN).any(dim=1)


@attrs.frozen(kw_only=True)
class MultiBlock(DraftSchedule):
    """Draft to the end of the row's block, and into further ones once most of the newest stands.

    For drafters that guess from left to right, one position in each step.  Blocks are counted from
    where the masks begin; the row's block is that of its last decided token.  A block more is begun
    when `spawn` of the newest one is decided, or has settled: agreed with the verifier once, though
    it was read behind guesses.  There are never more than `blocks`.
    Source: Jacobi Forcing (arXiv:2512.14681), K and r.
    """

    name = "multiblock"

    length: int = option(64, doc="tokens in a block", check=at_least(1))
    blocks: int = option(2, doc="blocks that are drafted at once", check=at_least(1))
    spawn: float = option(
        0.85, doc="decided share of a block that begins the next", check=(above(0), at_most(1))
    )

    def start(self) -> tuple[float, ...]:
        """One block, of which nothing has settled."""
        return self.length, 0

    def after(self, level_BL: Tensor, result: RoundResult) -> Tensor:
        """Positions from the first mask to the end of the newest block; how many settled there."""
        canvas = result.round.canvas
        before_B, first_B = (
            _first_mask(each, canvas) for each in (result.before_BN, result.after_BN)
        )
        own_B, after_B = self._end(before_B, canvas), self._end(first_B, canvas)
        newest_B = before_B + self.budget(level_BL)
        settled_B = self._settled(level_BL[:, 1].long(), newest_B, result)
        decided_B = first_B - 1 - (newest_B - self.length)
        stands_B = torch.where(newest_B > own_B, settled_B, decided_B)
        enough = ceil(self.spawn * self.length)
        begins_B = (stands_B >= enough) & (newest_B < own_B + (self.blocks - 1) * self.length)
        settled_B = torch.where(begins_B, 0, settled_B)
        newest_B = torch.where(begins_B, newest_B + self.length, newest_B).maximum(after_B)
        steps_B = (newest_B - first_B).clamp_min(0)
        return torch.stack((steps_B, settled_B), dim=1).to(level_BL)

    def budget(self, level_BL: Tensor) -> Tensor:
        """The first number."""
        return level_BL[:, 0].long()

    def _end(self, first_B: Tensor, canvas: Canvas) -> Tensor:
        """The end of the block of the last decided token."""
        decided_B = (first_B - 1 - canvas.start_B).clamp_min(0)
        return canvas.start_B + (decided_B // self.length + 1) * self.length

    def _settled(self, settled_B: Tensor, newest_B: Tensor, result: RoundResult) -> Tensor:
        """How many leading tokens of the newest block have settled, this round's included.

        The first one that had not is taken on trust, as the token after what is decided is.
        """
        draft, columns = result.draft, result.before_BN.shape[1]
        if not draft.nodes:
            return settled_B
        first_BN = draft.first_at(draft.valid_BE, columns)
        asked_BN = first_BN < draft.valid_BE.shape[1]
        index_BN = first_BN.clamp_max(draft.valid_BE.shape[1] - 1)
        agrees_BN = (draft.token_BE == result.verdict.token_BE).gather(1, index_BN) | ~asked_BN
        offset_BN = result.round.canvas.columns_N - (newest_B - self.length)[:, None]
        open_BN = (offset_BN > settled_B[:, None]) & (offset_BN < self.length)
        run_B = torch.where(open_BN & ~agrees_BN, offset_BN, self.length).amin(dim=1)
        return torch.where(result.round.live_B, run_B, settled_B)


def _first_mask(tokens_BN: Tensor, canvas: Canvas) -> Tensor:
    """The first undecided position of each row; one beyond the end where there is none."""
    masked_BN = tokens_BN == canvas.mask_id
    return torch.where(masked_BN, canvas.columns_N, tokens_BN.shape[1]).amin(dim=1)
