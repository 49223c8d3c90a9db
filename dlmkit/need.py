"""Which statistics of a prediction a component reads; declared, so that engines return no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

__all__ = ["Need"]


@attrs.frozen(kw_only=True)
class Need:
    """Which statistics of a prediction somebody reads.

    `top` is the number of most probable tokens kept; `entropy` and `current` (the log-probability
    of the token that stands at the position now) are computed only on demand; `logits` asks for
    the full distribution, which costs the transfer of V values for each position; `shadow` for a
    second prediction of each position of the window, by shadows that see each other but not the
    token at the position (see `Plan`), which costs a fed position each; `taps` for what attention
    saw, in `Prediction.taps`: its `rollout`, or the `relevance` of keys to the queries that a plan
    watches, which not every engine can tell.
    """

    top: int = 1
    entropy: bool = False
    current: bool = False
    logits: bool = False
    shadow: bool = False
    taps: frozenset[Literal["relevance", "rollout"]] = frozenset()

    @staticmethod
    def union(needs: Iterable[Need]) -> Need:
        """Return the least need that covers all of `needs`."""
        kept = tuple(needs)
        return Need(
            top=max((need.top for need in kept), default=1),
            entropy=any(need.entropy for need in kept),
            current=any(need.current for need in kept),
            logits=any(need.logits for need in kept),
            shadow=any(need.shadow for need in kept),
            taps=frozenset().union(*(need.taps for need in kept)),
        )
