"""Variants: inputs that share a plan and run as further rows of one pass, such as guidance.

On the way in, what they share is repeated; on the way out, the pass is cut back into them.

Legend: B rows, P wanted positions, R rows of the result, E columns of the result (in K/V: head
dimension), K kept candidates, V vocabulary, Y layers, G key/value heads, C positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from dlmkit.network import KeyValues
from dlmkit.prediction import Prediction, ScorePack

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.network import NetworkOutput

__all__ = ["first_rows", "part_of", "places", "predictions_of", "repeated"]


def repeated(x: Tensor, times: int) -> Tensor:
    """The rows of a tensor `[B, ...]` once for each variant, `[times * B, ...]`."""
    return x if times == 1 else x.repeat(times, *[1] * (x.ndim - 1))


def first_rows(fresh: KeyValues, rows: int, count: int) -> KeyValues:
    """The keys and values of the first rows and fed positions; after those come shadows."""
    return KeyValues(
        keys_YBGCE=fresh.keys_YBGCE[:, :rows, :, :count],
        values_YBGCE=fresh.values_YBGCE[:, :rows, :, :count],
    )


def predictions_of(output: NetworkOutput, variants: int, wanted: int) -> list[Prediction]:
    """Cut a pass back into its variants, and each into what was wanted and its shadows."""
    whole = Prediction(pack=output.pack, logits_BPV=output.logits_BSV)
    rows, columns = output.pack.lse_BP.shape
    if variants == 1 and columns == wanted:
        return [whole]
    each = rows // variants
    parts = [slice(number * each, (number + 1) * each) for number in range(variants)]
    if columns == wanted:
        return [part_of(whole, rows) for rows in parts]
    return [
        attrs.evolve(
            part_of(whole, rows, slice(wanted)), shadow=part_of(whole, rows, slice(wanted, None))
        )
        for rows in parts
    ]


def part_of(whole: Prediction, rows: slice, columns: slice = slice(None)) -> Prediction:
    """Some rows and positions of what a network returned."""
    return _each(whole, lambda x: x[rows, columns])


def places(prediction: Prediction, row_RE: Tensor, column_RE: Tensor) -> Prediction:
    """The predictions at the given places, as a window of their own."""
    return _each(prediction, lambda x: x[row_RE, column_RE])


def _each(prediction: Prediction, pick: Callable[[Tensor], Tensor]) -> Prediction:
    pack = prediction.pack
    return Prediction(
        pack=ScorePack(
            top_ids_BPK=pick(pack.top_ids_BPK),
            top_logp_BPK=pick(pack.top_logp_BPK),
            lse_BP=pick(pack.lse_BP),
            entropy_BP=None if pack.entropy_BP is None else pick(pack.entropy_BP),
            current_logp_BP=None if pack.current_logp_BP is None else pick(pack.current_logp_BP),
        ),
        logits_BPV=None if prediction.logits_BPV is None else pick(prediction.logits_BPV),
        sampling=prediction.sampling and _each(prediction.sampling, pick),
        original=prediction.original and _each(prediction.original, pick),
    )
