"""What a decode gave and what it cost, for one prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from dlmkit.accounts.ledger import Ledger

__all__ = ["Result"]


@attrs.frozen(kw_only=True)
class Result:
    """One decoded row.

    `text` is cut before the first end-of-text token; an infilled one is given whole.  `token_ids`
    are the ids it comes from, `tokens` counts those of them that were decoded.  `nfe` counts the
    forward passes that the row took part in, by network; `fed_positions` the positions computed
    for it over all of them.  `weighted_nfe` weighs each of its passes by the cost that
    `dlmkit profile` measured, as if it had been decoded alone, in units of a pass of the home
    network over its canvas; None where that was not measured.  `weighted_bounds` are what it would
    be by the sizes of the networks alone: where passes wait for memory, and for arithmetic.
    `masks_left` counts positions that were never decided (after a stop rule).  `seconds` is the
    wall time of the row's batch of `batch_size` rows.  `ledger` says what ran for what, and what
    became of drafts.
    """

    text: str
    token_ids: tuple[int, ...]
    tokens: int
    nfe: Mapping[str, int]
    fed_positions: int
    seconds: float
    masks_left: int
    batch_size: int
    pipeline: str
    spec_id: str
    seed: int
    ledger: Ledger
    weighted_bounds: tuple[float, float]
    weighted_nfe: float | None = None

    @property
    def tokens_per_forward(self) -> float:
        """Decoded tokens in the text over forward passes of all networks."""
        return self.tokens / max(sum(self.nfe.values()), 1)

    @property
    def unweighted(self) -> str | None:
        """Why there is no weighted number of passes, and how to get it; None where there is."""
        if self.weighted_nfe is not None:
            return None
        return (
            "passes of these models were not measured here: run `dlmkit profile --pipeline "
            f"{self.pipeline}`, with the same --model, --engine and --device"
        )

    def as_json(self) -> dict[str, Any]:
        """The stable machine-readable form."""
        return {
            "text": self.text,
            "tokens": self.tokens,
            "nfe": dict(self.nfe),
            "fed_positions": self.fed_positions,
            "tokens_per_forward": round(self.tokens_per_forward, 4),
            "seconds": round(self.seconds, 4),
            "pipeline": self.pipeline,
            "spec_id": self.spec_id,
            "seed": self.seed,
            "masks_left": self.masks_left,
            "batch_size": self.batch_size,
            "weighted_nfe": None if self.weighted_nfe is None else round(self.weighted_nfe, 4),
            "weighted_nfe_bounds": {
                "memory": round(self.weighted_bounds[0], 4),
                "arithmetic": round(self.weighted_bounds[1], 4),
            },
            "weighted_nfe_missing": self.unweighted,
            "ledger": self.ledger.as_json(),
        }
