"""Try several choices in one pass and keep the one that leaves the network surest: Info-Gain.

Legend: B rows, N canvas positions, P window positions, R branches, K kept candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import above, at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.loop.memory import Memory
from dlmkit.loop.tracking import Tracker
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.prediction import Prediction
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.branching import Branching, best_of, picked, with_choice

__all__ = ["LookAhead"]


@attrs.frozen(kw_only=True)
class LookAhead(Branching):
    """Decode by trying choices: each pass runs several, as rows, and the best one is kept.

    A choice is what the transfer rule selects; all but the first select by confidence / noise
    plus Gumbel noise.  The best has the largest -(entropy of what it commits) - (mean entropy of
    what is then left); its predictions serve the next step, so a pass is wider, not one more.
    Where every proposal of a block is sure, the block is filled without choosing.
    Source: Info-Gain (arXiv:2602.18176), N, tau and J; without `immediate` its "lookum".
    """

    name = "look-ahead"

    transfer: TransferRule = option(doc="chooses which proposals make up a choice")
    branches: int = option(8, doc="choices in each pass", check=at_least(1))
    noise: float = option(0.2, doc="temperature of the positions drawn", check=above(0))
    sure: float = option(
        0.8, doc="probability that all of a block must reach to be filled", check=at_least(0)
    )
    immediate: bool = option(True, doc="count the entropy of what is committed now")

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""
        session = context.session(self.model)
        memory = Memory(self, canvas, session.info.vocab_size)
        tracker = Tracker(
            canvas, session.info, context.seed, self.blocks, self.transfer, True, reopens=False
        )
        prediction: Prediction | None = None
        for step in count():
            view = tracker.next(step, memory.values)
            if view is None:
                return
            before_BN = canvas.tokens_BN
            choices, tokens_BP = self._choices(prediction, view)
            inputs = [with_choice(choice_BP, tokens_BP, view) for choice_BP in choices]
            predictions = session.predict(
                inputs, canvas, view.positions_BP, Plan.full(before_BN), self.need()
            )
            best_B = self._best(choices, predictions, prediction, view)
            prediction = best_of(predictions, best_B)
            commit_BP = picked(choices, best_B)
            canvas.commit(view.positions_BP, commit_BP, tokens_BP, step)
            outcome = self._finish(prediction, commit_BP, tokens_BP, view, canvas, before_BN)
            memory.advance(outcome)
            yield StepRecord.of(outcome, self.model, session.counts)

    def _choices(self, prediction: Prediction | None, view: View) -> tuple[list[Tensor], Tensor]:
        """The choices, `commit_BP` each, and the proposals; before the first pass there is one."""
        if prediction is None:
            return [torch.zeros_like(view.eligible_BP)], view.tokens_BP
        view = self.rated(prediction, view)
        score_BP, filled_B1 = view.proposal.confidence_BP, self._all_sure(view)[:, None]
        noisy = (
            score_BP / self.noise + view.gumbel_BP(f"{self.name}-{number}")
            for number in range(1, self.branches)
        )
        chosen = [self.transfer.select(each_BP, view) for each_BP in (score_BP, *noisy)]
        return [(each | filled_B1) & view.eligible_BP for each in chosen], view.proposal.tokens_BP

    def _all_sure(self, view: View) -> Tensor:
        """Rows in which every proposal of the block is sure, bool."""
        share_BP = view.proposal.prediction.logp_of(view.proposal.tokens_BP).exp()
        return ((share_BP >= self.sure) | ~view.eligible_BP).all(dim=1)

    def _best(
        self,
        choices: Sequence[Tensor],
        predictions: Sequence[Prediction],
        known: Prediction | None,
        view: View,
    ) -> Tensor:
        """The number of the best choice in each row, ties to the first, `best_B` int64."""
        values = []
        for choice_BP, prediction in zip(choices, predictions, strict=True):
            left_BP = view.masked_BP & ~choice_BP
            mean_B = _entropy(prediction, left_BP) / left_BP.sum(dim=1).clamp_min(1)
            now_B = _entropy(known, choice_BP) if known and self.immediate else 0
            values.append(-mean_B - now_B)
        return torch.stack(values).argmax(dim=0)

    def _finish(
        self,
        prediction: Prediction,
        commit_BP: Tensor,
        tokens_BP: Tensor,
        view: View,
        canvas: Canvas,
        before_BN: Tensor,
    ) -> Outcome:
        """Decide, of rows in their last block, what needs no further pass; stop rows."""
        after = self.rated(prediction, view.after(canvas))
        proposal, left_BP = after.proposal, after.eligible_BP
        single_B = left_BP.sum(dim=1) == 1
        last_B = ~(after.open_BP & ~left_BP).any(dim=1) & (self._all_sure(after) | single_B)
        fill_BP = left_BP & last_B[:, None]
        canvas.commit(view.positions_BP, fill_BP, proposal.tokens_BP, view.step)
        self.end(view, canvas)
        return Outcome(
            view=view,
            prediction=prediction,
            proposals_BP=torch.where(commit_BP, tokens_BP, proposal.tokens_BP),
            confidence_BP=proposal.confidence_BP,
            commit_BP=commit_BP | fill_BP,
            before_BN=before_BN,
            after_BN=canvas.tokens_BN,
        )


def _entropy(prediction: Prediction, where_BP: Tensor) -> Tensor:
    """Total entropy of the marked positions in nats, `total_B`."""
    entropy_BP = prediction.pack.entropy_BP
    assert entropy_BP is not None  # noqa: S101 - declared in `_NEED`
    return torch.where(where_BP, entropy_BP, 0.0).sum(dim=1)
