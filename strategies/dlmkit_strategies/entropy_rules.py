"""Transfer rules that limit the entropy of what is decided together.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.roles import TransferRule
from dlmkit.schedules import Schedule, value_at
from dlmkit.view import View
from dlmkit_strategies.kernels import rank, top_n

__all__ = ["EntropyBound", "EntropyThreshold"]


@attrs.frozen
class EntropyThreshold(TransferRule):
    """Every position whose entropy is at most a limit, and at least the best one.

    Needs `confidence: entropy`.  The published LLaDA code includes the limit itself, its Dream
    code does not; this rule includes it.  Source: dParallel (arXiv:2509.26488), eta in nats.
    """

    name = "entropy-threshold"
    reads = frozenset({"nats"})

    limit: float | Schedule = option(
        0.5, doc="largest entropy that is committed, in nats", check=at_least(0)
    )

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Certain positions and the best one."""
        sure_BP = -confidence_BP <= value_at(self.limit, view)
        return (sure_BP & view.eligible_BP) | top_n(confidence_BP, view.eligible_BP, 1)


@attrs.frozen
class EntropyBound(TransferRule):
    """The longest run of best positions whose joint uncertainty stays under a bound.

    In the order of confidence, positions are taken while the sum of their entropies minus the
    largest of them is at most gamma, which bounds the error of deciding them independently; at
    least one is.  Source: EB-Sampler (arXiv:2505.24857), gamma in nats; with `confidence: entropy`
    that of DiffusionGemma, "the sum of those before".
    """

    name = "entropy-bound"
    need = Need(entropy=True)

    gamma: float = option(0.1, doc="bound on the joint uncertainty, in nats", check=at_least(0))
    of: Literal["raw", "filtered"] = option(
        "raw", doc="which entropies: before or after temperature, top-p and top-k"
    )

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The passing prefix of the ranking, at least one."""
        prediction = view.proposal.prediction
        entropy_BP = (prediction.filtered if self.of == "filtered" else prediction).pack.entropy_BP
        assert entropy_BP is not None  # noqa: S101 - declared in `need`
        rank_BP = rank(confidence_BP, view.eligible_BP)
        ordered_BP = torch.zeros_like(entropy_BP).scatter(1, rank_BP, entropy_BP)
        joint_BP = ordered_BP.cumsum(dim=1) - ordered_BP.cummax(dim=1).values
        passes_BP = (joint_BP <= self.gamma).gather(1, rank_BP) | (rank_BP == 0)
        return passes_BP & view.eligible_BP
