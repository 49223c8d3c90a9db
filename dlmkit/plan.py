"""Plans: which positions a forward pass computes, which it reads from the store, what it keeps.

Cache policies return plans and nothing else; the session turns a plan into tensors.  The store
has one slot for each canvas position.

Legend: B rows, N canvas positions, Q fed positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

__all__ = ["Plan"]


@attrs.frozen(kw_only=True, eq=False)
class Plan:
    """One forward pass over part of the canvas.

    `feed_BQ` int64 canvas positions in any order; `feed_valid_BQ` is false on filler queries,
    which see only themselves, are never kept and never read (None: no filler).  `cached_BN` marks
    stored positions that may be read (None: none); a fed position is never read from the store.
    `commit_BQ` marks fed positions whose fresh keys and values are stored (None: none).
    `whole` says that `feed_BQ` is every position in order.
    """

    feed_BQ: Tensor
    feed_valid_BQ: Tensor | None = None
    cached_BN: Tensor | None = None
    commit_BQ: Tensor | None = None
    whole: bool = False

    @classmethod
    def full(cls, tokens_BN: Tensor, *, commit: bool = False) -> Plan:
        """Compute every position and read nothing; with `commit`, store everything."""
        rows, columns = tokens_BN.shape
        feed_BQ = torch.arange(columns, device=tokens_BN.device).expand(rows, columns)
        keep_BQ = torch.ones_like(feed_BQ, dtype=torch.bool) if commit else None
        return cls(feed_BQ=feed_BQ, commit_BQ=keep_BQ, whole=True)
