"""Pure tensor functions that several strategies share.

Ties go to the lowest position or token id.  Nothing here reads a tensor on the host.

Legend: B rows, P window positions, K kept candidates, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.host.constants import constant, counted
from dlmkit.network import NetworkInfo

__all__ = ["ends_text", "first_allowed", "rank", "top_n"]


def rank(confidence_BP: Tensor, eligible_BP: Tensor) -> Tensor:
    """Rank of each position by falling confidence, 0 first, `rank_BP` int64.

    Eligible positions come before all others, whatever their confidence; ties go to the lowest
    position.
    """
    order_BP = _key(confidence_BP, eligible_BP).argsort(dim=-1, descending=True, stable=True)
    places_P = counted(order_BP.shape[-1], order_BP.device)
    return order_BP.scatter(-1, order_BP, places_P.expand_as(order_BP))  # its inverse


def top_n(confidence_BP: Tensor, eligible_BP: Tensor, count: Tensor | int) -> Tensor:
    """The `count` most confident eligible positions of each row (all, if there are fewer), bool.

    `count` is a number or `count_B1` int64.
    """
    if isinstance(count, int) and count == 1:
        return _first_BP(_key(confidence_BP, eligible_BP)) & eligible_BP
    return (rank(confidence_BP, eligible_BP) < count) & eligible_BP


def first_allowed(ids_BPK: Tensor, banned: int | None) -> Tensor:
    """The first candidate of each position that is not `banned`, `ids_BP`; needs two candidates."""
    first_BP = ids_BPK[..., 0]
    if banned is None:
        return first_BP
    return torch.where(first_BP == banned, ids_BPK[..., 1], first_BP)


def ends_text(tokens_BP: Tensor, info: NetworkInfo) -> Tensor:
    """Where a token ends the text or the turn, `ends_BP` bool."""
    return torch.isin(tokens_BP, constant((*info.eos_ids, *info.eot_ids), tokens_BP.device))


def _key(confidence_BP: Tensor, eligible_BP: Tensor) -> Tensor:
    """What positions are ranked by: the confidence of eligible ones, below it all others."""
    lowest = torch.finfo(confidence_BP.dtype).min
    return torch.where(eligible_BP, confidence_BP.clamp_min(lowest), -torch.inf)


def _first_BP(key_BP: Tensor) -> Tensor:
    """The first of each row's largest values, bool: what the rank 0 is, without sorting."""
    return counted(key_BP.shape[-1], key_BP.device) == key_BP.argmax(dim=-1, keepdim=True)
