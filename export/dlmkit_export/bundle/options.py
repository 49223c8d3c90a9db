"""What a bundle offers: decided when it is made.

Apart from what makes it, which takes long to import.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from dlmkit.errors import RequestError
from dlmkit_export.bundle.buckets import Buckets

__all__ = ["IN_PLACE_OPSET", "OPSETS", "ExportOptions"]

OPSETS = (23, 20)
"""23 has operators for attention, norms and rotary embedding; 20 spells them out."""

IN_PLACE_OPSET = 24
"""The first with an operator that writes into a cache."""


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


@attrs.frozen(kw_only=True)
class ExportOptions:
    """What a bundle offers.

    `candidates` is the number of most probable tokens in the score pack, `logits` adds a graph
    for strategies that read whole distributions.  With `cache_slots` graphs write into a cache
    of that many slots, in opset 24.  `abilities` add graphs for strategies that need them (see
    `dlmkit_export.contract.ABILITIES`).

    Raises:
        RequestError: a cache cannot be written in place in that opset, with those buckets, or
            with abilities.
    """

    candidates: int = 8
    logits: bool = True
    opset: int = OPSETS[0]
    buckets: Buckets = attrs.field(factory=Buckets)
    cache_slots: int | None = None
    abilities: tuple[str, ...] = attrs.field(default=(), converter=_sorted)

    def __attrs_post_init__(self) -> None:
        if self.cache_slots is None:
            return
        if self.abilities:
            raise RequestError(
                f"graphs that write into their cache have no {' or '.join(self.abilities)}",
                hint="leave out --in-place, or --with: a model may have a bundle of each kind",
            )
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
