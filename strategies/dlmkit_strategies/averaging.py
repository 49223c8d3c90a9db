"""Confidence over several steps: what the paper on coherent contextual decoding states.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import CommitGuard, ConfidenceScorer
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import read, write

__all__ = ["AveragedEntropy", "Unchanged"]


@attrs.frozen
class AveragedEntropy(ConfidenceScorer):
    """Negative entropy, in nats, of the distribution averaged over the last steps.

    The average over d contexts is less certain than each of them where they disagree.  Of earlier
    steps only the W surest undecided positions are in it.  With a depth of 1 it is `entropy`.
    Keeps d - 1 distributions: 4 V (d - 1) bytes for each position.
    Source: CCD (arXiv:2512.02044), d and V (here W); its released code has no such average.
    """

    name = "averaged-entropy"
    need = Need(logits=True)
    space = "nats"
    history = True

    depth: int = option(2, doc="steps that are averaged, this one included", check=at_least(1))
    width: int = option(4, doc="positions of a step that are remembered", check=at_least(1))

    @property
    def state(self) -> tuple[StateField, ...]:  # type: ignore[override] # depends on the depth
        """One distribution for each position and earlier step; zero where there is none."""
        return tuple(StateField(name, "float32", 0.0, "BNV") for name in self._names())

    def _names(self) -> list[str]:
        return [f"past{number}_BNV" for number in range(1, self.depth)]

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Minus the entropy of the average."""
        mean_BPV = _shares(prediction)
        count_BP1 = torch.ones_like(mean_BPV[..., :1])
        for name in self._names():
            past_BPV = read(view.recall(self)[name], view)
            mean_BPV = mean_BPV + past_BPV
            count_BP1 = count_BP1 + (past_BPV.amax(dim=-1, keepdim=True) > 0)
        entropy_BP: Tensor = torch.special.entr(mean_BPV / count_BP1).sum(dim=-1)
        return -entropy_BP

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """This step's distributions at the positions to remember, then those of earlier steps."""
        view, names = outcome.view, self._names()
        left_BP = view.eligible_BP & ~outcome.commit_BP
        kept_BP = top_n(outcome.confidence_BP, left_BP, self.width)
        older = [view.recall(self)[name] for name in names]
        empty_BNV = torch.zeros_like(older[0])
        newest_BNV = write(empty_BNV, _shares(outcome.prediction), kept_BP, view)
        return dict(zip(names, [newest_BNV, *older[:-1]], strict=True))


def _shares(prediction: Prediction) -> Tensor:
    assert prediction.logits_BPV is not None  # noqa: S101 - declared in `need`
    return prediction.logits_BPV.float().softmax(dim=-1)


@attrs.frozen
class Unchanged(CommitGuard):
    """Keep the selected positions whose proposal has not changed for some steps, or the best one.

    Source: "consistent over the buffer" in CCD with dynamic commits (arXiv:2512.02044).
    """

    name = "unchanged"
    drops = True
    history = True
    state = (StateField("token_BN", "int64", -1), StateField("same_BN", "int64", 0))

    past: int = option(1, doc="earlier steps with the same proposal", check=at_least(1))

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Drop what changed, but not everything."""
        same_BP = self._same(view.proposal.tokens_BP, view)
        kept_BP = commit_BP & (same_BP >= self.past)
        none_B1 = ~kept_BP.any(dim=1, keepdim=True)
        return kept_BP | (none_B1 & top_n(confidence_BP, commit_BP, 1))

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The proposals, and for how many steps they have stood."""
        view, tokens_BP = outcome.view, outcome.proposals_BP
        old = view.recall(self)
        same_BP = self._same(tokens_BP, view)
        return {
            "token_BN": write(old["token_BN"], tokens_BP, view.inside_BP, view),
            "same_BN": write(old["same_BN"], same_BP, view.inside_BP, view),
        }

    def _same(self, tokens_BP: Tensor, view: View) -> Tensor:
        """Earlier steps in a row that had this proposal, `same_BP` int64."""
        old = view.recall(self)
        return (read(old["same_BN"], view) + 1) * (read(old["token_BN"], view) == tokens_BP)
