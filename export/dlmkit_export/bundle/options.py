"""What a bundle offers: decided when it is made.

Apart from what makes it, which takes long to import.
"""

from __future__ import annotations

import attrs

from dlmkit.errors import RequestError
from dlmkit_export.bundle.buckets import Buckets

__all__ = ["IN_PLACE_OPSET", "OPSETS", "ExportOptions"]

OPSETS = (23, 20)
"""23 has operators for attention, norms and rotary embedding; 20 spells them out."""

IN_PLACE_OPSET = 24
"""The first with an operator that writes into a cache."""


@attrs.frozen(kw_only=True)
class ExportOptions:
    """What a bundle offers.

    `candidates` is the number of most probable tokens in the score pack, `logits` adds a graph
    for strategies that read whole distributions.  With `cache_slots` graphs write into a cache
    of that many slots, in opset 24.

    Raises:
        RequestError: a cache cannot be written in place in that opset, or with those buckets.
    """

    candidates: int = 8
    logits: bool = True
    opset: int = OPSETS[0]
    buckets: Buckets = attrs.field(factory=Buckets)
    cache_slots: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.cache_slots is None:
            return
        if self.opset != IN_PLACE_OPSET:
            raise RequestError(
                f"opset {self.opset} has no operator that writes into a cache",
                hint=f"leave --opset out: --in-place takes {IN_PLACE_OPSET}",
            )
        if self.buckets.fed or self.buckets.slots:
            raise RequestError(
                "a cache that is written in place has one size, and passes cannot be padded: "
                "padding would be written over what is stored",
                hint="leave out --buckets fed=… and slots=…, or --in-place",
            )
