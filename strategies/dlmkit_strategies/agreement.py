"""Decide what two steps agree on: the released code of coherent contextual decoding.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import StateField, option
from dlmkit.outcome import Outcome
from dlmkit.roles import TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import read, write

__all__ = ["RunnersUp"]

_SCARCE = 0.1


@attrs.frozen
class RunnersUp(TransferRule):
    """The best k positions; or, in bulk, runners-up of the last step that kept their token.

    A runner-up counts if it is now among the best W and its proposal has not changed; if at least
    k do, and one of the best k was a runner-up, they are committed instead.  W grows by one each
    step after the warm-up, up to k + floor(k x expand), and is 2 once a tenth of the masks is
    left.  Source: the code released for CCD (arXiv:2512.02044), `_sample_inference_lookahead`;
    the averaged distributions of the paper are not in it.  Selections hold masks only, which
    the code forgets near the end (it may then write a mask over a decided token).
    """

    name = "runners-up"
    history = True
    state = (
        StateField("token_BN", "int64", -1),
        StateField("runner_up_BN", "bool", 0),
    )

    k: int = option(1, doc="commits in an ordinary step", check=at_least(1))
    expand: float = option(4.0, doc="growth of the candidate list, in k", check=at_least(0))
    warmup: int = option(5, doc="ordinary steps at the beginning of a block", check=at_least(1))
    bulk: bool = option(True, doc="commit all that agree (CCD-DS), not the best k of them")

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The best k, or the agreeing runners-up."""
        best_BP = top_n(confidence_BP, view.eligible_BP, self.k)
        memory = view.recall(self)
        waiting_BP = read(memory["runner_up_BN"], view)
        same_BP = read(memory["token_BN"], view) == view.proposal.tokens_BP
        candidate_BP = top_n(confidence_BP, view.eligible_BP, self._width(view)[:, None])
        agreed_BP = candidate_BP & waiting_BP & same_BP
        linked_B = (best_BP & waiting_BP).any(dim=1) & (agreed_BP.sum(dim=1) >= self.k)
        linked_B &= view.block_step_B >= self.warmup
        if not self.bulk:
            agreed_BP = top_n(confidence_BP, agreed_BP, self.k)
        return torch.where(linked_B[:, None], agreed_BP, best_BP)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """This step's proposals, and the best W positions that it left undecided."""
        view, old = outcome.view, outcome.view.recall(self)
        left_BP = view.eligible_BP & ~outcome.commit_BP
        runner_up_BP = top_n(outcome.confidence_BP, left_BP, self._width(view)[:, None])
        return {
            "token_BN": write(old["token_BN"], outcome.proposals_BP, view.inside_BP, view),
            "runner_up_BN": write(old["runner_up_BN"], runner_up_BP, view.inside_BP, view),
        }

    def _width(self, view: View) -> Tensor:
        """Length of the candidate list, `width_B` int64."""
        most = self.k + int(self.k * self.expand)
        grown_B = (view.block_step_B - self.warmup + 3).clamp(1, most)
        scarce_B = view.eligible_BP.sum(dim=1) <= _SCARCE * view.block_masks_B
        return torch.where(scarce_B, grown_B.clamp_max(2), grown_B)
