"""Rules on a ratio schedule: the share of a block that is still undecided after each step.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, pi
from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least
from dlmkit.component import StateField, option
from dlmkit.host.constants import constant
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction
from dlmkit.roles import Reviser, Revision, TransferRule
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n
from dlmkit_strategies.positions import decided_here, read, write

__all__ = ["Everything", "RatioQuota", "ReopenPlanned", "ReopenRecorded"]

Curve = Literal["linear", "cosine", "square"]
_CURVE = "share of the masks left after the part r of the steps: 1 - r, cos(r pi/2), or 1 - r^2"
_STEPS = "steps for each block"
_SHARE: dict[Curve, Callable[[float], float]] = {
    "linear": lambda r: 1 - r,
    "cosine": lambda r: cos(r * pi / 2),
    "square": lambda r: 1 - r**2,
}


def _masks_left(curve: Curve, steps: int, view: View) -> Tensor:
    """Masks of the block that may be left after this step, floor(masks x share), `left_B`."""
    shares = [_SHARE[curve]((step + 1) / steps) for step in range(steps - 1)] + [0.0]
    share = constant(tuple(shares), view.block_step_B.device, torch.float64)
    return (view.block_masks_B * share[view.block_step_B.clamp_max(steps - 1)]).long()


@attrs.frozen
class Everything(TransferRule):
    """Every eligible position.

    Source: the first half of RCR (arXiv:2508.13148), whose second half reopens the doubtful.
    """

    name = "everything"
    whole = True

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """All of them."""
        return view.eligible_BP


@attrs.frozen
class RatioQuota(TransferRule):
    """The most confident positions, so many that a scheduled share of the block is left.

    Source: MaskGIT (arXiv:2202.04200), gamma; as in MDPO (arXiv:2508.13148) without remasking.
    """

    name = "ratio-quota"
    may_wait = True

    steps: int = option(32, doc=_STEPS, check=at_least(1), key="steps_per_block")
    curve: Curve = option("linear", doc=_CURVE)

    def steps_per_block(self, width: int) -> int:
        """The fixed number."""
        return self.steps

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """What exceeds the share that may be left."""
        due_B = view.eligible_BP.sum(dim=1) - _masks_left(self.curve, self.steps, view)
        return top_n(confidence_BP, view.eligible_BP, due_B[:, None])


@attrs.frozen
class ReopenRecorded(Reviser):
    """Reopen the positions whose confidence was lowest when they were decided.

    So many that a scheduled share of the block's masks is open again; anywhere in the row.  A
    token keeps the confidence of its own decision as long as it stands ("running" in the paper).
    Prompt and undecided positions are excluded by what they are; the published code marks them
    by a confidence of 1 and can so mask the prompt.
    Source: RCR, running confidence remasking (arXiv:2508.13148).
    """

    name = "reopen-recorded"
    span = "region"
    reopens = True
    history = True
    state = (StateField("confidence_BN", "float64", 0.0),)

    steps: int = option(32, doc=_STEPS, check=at_least(1), key="steps_per_block")
    curve: Curve = option("linear", doc=_CURVE)

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """The least confident decided positions."""
        fresh_BP = decided_here(view) == view.step
        recorded_BP = self._recorded(view.proposal.confidence_BP, fresh_BP, view)
        count_B1 = _masks_left(self.curve, self.steps, view)[:, None]
        lowest_BP = top_n(-recorded_BP, decided_here(view) >= 0, count_B1)
        return Revision(lowest_BP, torch.full_like(view.tokens_BP, view.canvas.mask_id))

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The confidence of each position at its last decision."""
        view, old_BN = outcome.view, outcome.view.recall(self)["confidence_BN"]
        now_BP = self._recorded(outcome.confidence_BP, outcome.commit_BP, view)
        return {"confidence_BN": write(old_BN, now_BP, view.inside_BP, view)}

    def _recorded(self, confidence_BP: Tensor, fresh_BP: Tensor, view: View) -> Tensor:
        old_BP = read(view.recall(self)["confidence_BN"], view)
        return torch.where(fresh_BP, confidence_BP.double(), old_BP)


@attrs.frozen
class ReopenPlanned(Reviser):
    """Keep what scores best anywhere in the block, old or new, and leave the rest masked.

    The score of a position is the log-probability of what is proposed there now, also where a
    token stands; that of new positions counts eta times.  A scheduled share of the block's masks
    is open after each step.  Source: P2, path planning with itself as planner (arXiv:2502.03540),
    eta; as in bionemo-moco, `step_self_path_planning`.
    """

    name = "reopen-planned"
    need = Need(top=2)
    reopens = True

    steps: int = option(32, doc=_STEPS, check=at_least(1), key="steps_per_block")
    curve: Curve = option("linear", doc=_CURVE)
    eta: float = option(1.0, doc="weight of new positions; above 1 takes more back", check=above(0))

    def revise(self, prediction: Prediction, view: View) -> Revision:
        """The lowest scores of the block."""
        step_BP = decided_here(view)
        score_BP = prediction.logp_of(view.proposal.tokens_BP)
        score_BP = torch.where(step_BP == view.step, self.eta * score_BP, score_BP)
        count_B1 = _masks_left(self.curve, self.steps, view)[:, None]
        where_BP = top_n(-score_BP, (step_BP >= 0) & view.in_block_BP, count_B1)
        return Revision(where_BP, torch.full_like(view.tokens_BP, view.canvas.mask_id))
