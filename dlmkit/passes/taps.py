"""What attention saw in a pass, by canvas position, for cache policies that choose by it.

Legend: B rows, N canvas positions, Q fed positions, C = N cached positions, K = C + Q keys,
Y layers.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.network import NetworkOutput
from dlmkit.passes.plan import Plan

__all__ = ["Taps"]


@attrs.frozen(kw_only=True)
class Taps:
    """What somebody declared a need for; the rest is None.

    `relevance_BNY`: by layer, the product of each fed key with the mean of the queries that the
    plan watched, unscaled, mean over the heads; minus infinity where nothing was fed, None where
    the plan watched nothing.
    `rollout_BN`: how much of all positions' output stems from each position (attention rollout),
    positions that were not fed standing for themselves; 0 on padding.
    """

    relevance_BNY: Tensor | None = None
    rollout_BN: Tensor | None = None

    @classmethod
    def of(cls, output: NetworkOutput, plan: Plan, canvas: Canvas) -> Taps:
        """Read a pass: its first variant, without shadows."""
        rows, fed = plan.feed_BQ.shape
        found, seen = output.relevance_YBQ, output.attention_YBQK
        if seen is not None:
            # Shadows stand behind the fed positions, as queries and as keys.
            keys = seen.shape[-1] - seen.shape[-2] + fed
            seen = seen[:, :rows, :fed, :keys]
        columns = canvas.tokens_BN.shape[1]
        return cls(
            relevance_BNY=found if found is None else _relevance(found[:, :rows], plan, columns),
            rollout_BN=seen if seen is None else _rollout(seen, plan, canvas),
        )

    def rows(self, index_B: Tensor) -> Taps:
        """What was seen in other rows."""
        both = self.relevance_BNY, self.rollout_BN
        relevance_BNY, rollout_BN = (each if each is None else each[index_B] for each in both)
        return Taps(relevance_BNY=relevance_BNY, rollout_BN=rollout_BN)


def _relevance(relevance_YBQ: Tensor, plan: Plan, columns: int) -> Tensor:
    """By canvas position, `relevance_BNY`."""
    rows, fed = plan.feed_BQ.shape
    target_BQ = plan.feed_BQ
    if plan.feed_valid_BQ is not None:
        target_BQ = target_BQ.masked_fill(~plan.feed_valid_BQ, columns)
    values_BQY = relevance_YBQ[:, :, :fed].permute(1, 2, 0)
    spread_BMY = values_BQY.new_full((rows, columns + 1, len(relevance_YBQ)), -torch.inf)
    index_BQY = target_BQ[..., None].expand(rows, fed, len(relevance_YBQ))
    return spread_BMY.scatter(1, index_BQY, values_BQY)[:, :columns]


def _rollout(attention_YBQK: Tensor, plan: Plan, canvas: Canvas) -> Tensor:
    """Attention rollout of a pass, summed over the positions it ends in, `rollout_BN`.

    With A a layer's attention, mean over heads, rows of identity where nothing was fed, each layer
    stands for (A + I) / 2.  The sum is carried from the last layer to the first, so no matrix of
    all positions is formed.
    """
    columns = canvas.tokens_BN.shape[1]
    feed_BQ, computed_BN = plan.feed_BQ, plan.computed_BN(columns)
    real_BQ = canvas.inside_BN.gather(1, feed_BQ)
    if plan.feed_valid_BQ is not None:
        real_BQ = real_BQ & plan.feed_valid_BQ
    mass_BN = canvas.inside_BN.to(attention_YBQK.dtype)
    for attention_BQK in attention_YBQK.flip(0):
        moved_BQ = mass_BN.gather(1, feed_BQ) * real_BQ / 2
        given_BK = (moved_BQ[:, None] @ attention_BQK)[:, 0]
        kept_BN = torch.where(computed_BN, 0, mass_BN)
        mass_BN = kept_BN.scatter_add(1, feed_BQ, moved_BQ + given_BK[:, -feed_BQ.shape[1] :])
        if attention_BQK.shape[-1] > feed_BQ.shape[1]:
            mass_BN = mass_BN + given_BK[:, : -feed_BQ.shape[1]]
    return mass_BN
