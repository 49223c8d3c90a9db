"""What a bundle offers: decided when it is made.

Apart from what makes it, which takes long to import.
"""

from __future__ import annotations

import attrs

from dlmkit_export.bundle.buckets import Buckets

__all__ = ["OPSETS", "ExportOptions"]

OPSETS = (23, 20)
"""23 has operators for attention, norms and rotary embedding; 20 spells them out."""


@attrs.frozen(kw_only=True)
class ExportOptions:
    """What a bundle offers.

    `candidates` is the number of most probable tokens in the score pack, `logits` adds a graph
    for strategies that read whole distributions.
    """

    candidates: int = 8
    logits: bool = True
    opset: int = OPSETS[0]
    buckets: Buckets = attrs.field(factory=Buckets)
