"""What a procedure promises of its decodes, in words that `dlmkit explain` prints."""

from __future__ import annotations

import attrs

__all__ = ["Guarantee"]


@attrs.frozen(kw_only=True)
class Guarantee:
    """A claim about every decode of a pipeline, whether it holds, and why.

    `invariant` is its number among those of the documentation (explanation/draft-verify).
    """

    id: str
    claim: str
    holds: bool
    reason: str
    invariant: int | None = None
