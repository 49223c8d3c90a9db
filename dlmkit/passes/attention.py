"""From a plan and an attention pattern to boolean masks.

True means: this query may attend to this key.  Masks are never inferred from positions by a
network; they are made here, once, for every engine.

Legend: B rows, Q queries, K keys, N canvas positions (store slots).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.models.arch import AttentionPattern
from dlmkit.passes.plan import Plan

__all__ = ["allowed", "masks", "readable", "visible"]


def visible(pattern: AttentionPattern, query_BQ: Tensor, key_BK: Tensor) -> Tensor | None:
    """`allowed_BQK` between absolute positions of a text; None where everything is allowed.

    `masks-last` is taken for a text without masks, `prefix-causal` for one without a prefix.
    """
    if pattern.kind in ("full", "prefix-causal"):
        return None
    if pattern.kind in ("causal", "masks-last"):
        return key_BK[:, None, :] <= query_BQ[:, :, None]
    block = pattern.block or 1
    return key_BK[:, None, :] // block <= query_BQ[:, :, None] // block


def masks(
    pattern: AttentionPattern,
    plan: Plan,
    inside_BN: Tensor,
    *,
    ragged: bool,
    masked_BN: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Return `mask_past_B1QC` and `mask_new_B1QQ` of a plan.

    `masked_BN` says which positions hold a mask (None: none do); `masks-last` depends on it.
    Padding and filler are hidden as keys; a filler or padding query sees only itself.  The first
    is None without cached positions, the second where every query sees every fed position.
    """
    feed_BQ = plan.feed_BQ
    allowed_BQQ = allowed(pattern, plan, feed_BQ, feed_BQ, masked_BN)
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
    return _past_mask(pattern, plan, inside_BN, masked_BN)[:, None], mask_new


def allowed(
    pattern: AttentionPattern,
    plan: Plan,
    query_BQ: Tensor,
    key_BK: Tensor,
    masked_BN: Tensor | None = None,
) -> Tensor | None:
    """What queries may see by the network's pattern and the plan's prefix, `allowed_BQK`.

    None where that is everything; what is fed, stored or filler plays no part.
    """
    allowed_BQK = visible(pattern, query_BQ, key_BK)
    if allowed_BQK is not None and masked_BN is not None and pattern.kind == "masks-last":
        masked_BQ1 = masked_BN.gather(1, query_BQ)[:, :, None]
        masked_B1K = masked_BN.gather(1, key_BK)[:, None, :]
        allowed_BQK = torch.where(masked_BQ1 == masked_B1K, allowed_BQK, masked_BQ1)
    if plan.prefix_B is None:
        return allowed_BQK
    prefix_B1 = plan.prefix_B[:, None]
    if pattern.kind == "prefix-causal":
        upto_BQK = key_BK[:, None, :] <= query_BQ[:, :, None]
        return upto_BQK | (query_BQ >= prefix_B1)[:, :, None]
    open_BQK = (query_BQ >= prefix_B1)[:, :, None] | (key_BK < prefix_B1)[:, None, :]
    return open_BQK if allowed_BQK is None else allowed_BQK & open_BQK


def readable(plan: Plan, inside_BN: Tensor) -> Tensor:
    """Stored positions that a plan reads, `readable_BN` bool.

    A fed position is seen fresh, so its stored row is hidden; filler hides nothing.
    """
    if plan.cached_BN is None:
        return torch.zeros_like(inside_BN)
    return plan.cached_BN & inside_BN & ~plan.computed_BN(inside_BN.shape[1])


def _past_mask(
    pattern: AttentionPattern, plan: Plan, inside_BN: Tensor, masked_BN: Tensor | None
) -> Tensor:
    feed_BQ, readable_BN = plan.feed_BQ, readable(plan, inside_BN)
    allowed_BQN = readable_BN[:, None, :]
    if plan.feed_valid_BQ is not None:
        allowed_BQN = allowed_BQN & plan.feed_valid_BQ[:, :, None]
    slots_BN = torch.arange(inside_BN.shape[1], device=feed_BQ.device).expand_as(readable_BN)
    pattern_BQN = allowed(pattern, plan, feed_BQ, slots_BN, masked_BN)
    if pattern_BQN is not None:
        return allowed_BQN & pattern_BQN
    return allowed_BQN.expand(-1, feed_BQ.shape[1], -1)
