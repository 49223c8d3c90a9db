"""From a plan and an attention pattern to boolean masks.

True means: this query may attend to this key.  Masks are never inferred from positions by a
network; they are made here, once, for every engine.

Legend: B rows, Q queries, K keys, N canvas positions (store slots).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.models.arch import AttentionPattern
from dlmkit.plan import Plan

__all__ = ["masks", "visible"]


def visible(pattern: AttentionPattern, query_BQ: Tensor, key_BK: Tensor) -> Tensor | None:
    """`allowed_BQK` between absolute positions; None where the pattern allows everything."""
    if pattern.kind == "full":
        return None
    if pattern.kind == "causal":
        return key_BK[:, None, :] <= query_BQ[:, :, None]
    block = pattern.block or 1
    return key_BK[:, None, :] // block <= query_BQ[:, :, None] // block


def masks(
    pattern: AttentionPattern, plan: Plan, inside_BN: Tensor, *, ragged: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return `mask_past_B1QC` and `mask_new_B1QQ` of a plan.

    Padding and filler are hidden as keys; a filler or padding query sees only itself.  The first
    is None without cached positions, the second where every query sees every fed position.
    """
    feed_BQ = plan.feed_BQ
    allowed_BQQ = visible(pattern, feed_BQ, feed_BQ)
    if ragged or plan.feed_valid_BQ is not None:
        real_BQ = inside_BN.gather(1, feed_BQ)
        if plan.feed_valid_BQ is not None:
            real_BQ = real_BQ & plan.feed_valid_BQ
        both_BQQ = real_BQ[:, None, :] & real_BQ[:, :, None]
        allowed_BQQ = both_BQQ if allowed_BQQ is None else allowed_BQQ & both_BQQ
        allowed_BQQ = allowed_BQQ | torch.eye(
            feed_BQ.shape[1], dtype=torch.bool, device=feed_BQ.device
        )
    mask_new = None if allowed_BQQ is None else allowed_BQQ[:, None]
    if plan.cached_BN is None:
        return None, mask_new
    return _past_mask(pattern, plan, inside_BN)[:, None], mask_new


def _past_mask(pattern: AttentionPattern, plan: Plan, inside_BN: Tensor) -> Tensor:
    feed_BQ, columns = plan.feed_BQ, inside_BN.shape[1]
    valid_BQ = torch.ones_like(feed_BQ, dtype=torch.bool)
    if plan.feed_valid_BQ is not None:
        valid_BQ = plan.feed_valid_BQ
    # A fed position is seen fresh, so its stored row is hidden; filler hides nothing.
    target_BQ = torch.where(valid_BQ, feed_BQ, columns)
    fed_BM = torch.zeros(feed_BQ.shape[0], columns + 1, dtype=torch.bool, device=feed_BQ.device)
    fed_BN = fed_BM.scatter(1, target_BQ, valid_BQ)[:, :columns]
    assert plan.cached_BN is not None  # noqa: S101 - the caller has checked
    readable_BN = plan.cached_BN & inside_BN & ~fed_BN
    allowed_BQN = readable_BN[:, None, :] & valid_BQ[:, :, None]
    slots_1N = torch.arange(columns, device=feed_BQ.device)[None]
    pattern_BQN = visible(pattern, feed_BQ, slots_1N)
    return allowed_BQN if pattern_BQN is None else allowed_BQN & pattern_BQN
