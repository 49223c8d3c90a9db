"""The inputs of a graph, made from those of a network call without copying keys or values.

Legend: B rows, Q fed positions, C cache slots, S wanted rows, Y layers, G key/value heads,
E head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from dlmkit_export.contract import CURRENT

if TYPE_CHECKING:
    from dlmkit.host.kept import Kept
    from dlmkit.network import NetworkInfo, NetworkInputs
    from dlmkit_export.bundle.buckets import Buckets

__all__ = ["feeds", "places", "tokens"]


def feeds(
    inputs: NetworkInputs, info: NetworkInfo, buckets: Buckets, kept: Kept, *, current: bool
) -> tuple[tuple[int, int, int], dict[str, Tensor]]:
    """Return the sizes `(rows, fed, wanted)` after padding, and the graph's inputs by name.

    Filler queries see only themselves; slots beyond those of the call are hidden.  What is the
    same tensor as in the call before is not made again.

    Raises:
        EngineError: the call is larger than the largest bucket.
    """
    rows, count = inputs.ids_BQ.shape
    fed = buckets.fit("fed", count)
    wanted = buckets.fit("wanted", max(1, inputs.want_BS.shape[1]))  # sums need an element
    keys, values = _past(inputs, info, buckets)
    slots, masks = keys.shape[3], (inputs.mask_past_B1QC, inputs.mask_new_B1QQ)
    laid_out = kept.of(
        "laid out",
        (inputs.positions_BQ, inputs.want_BS, *masks, slots),
        lambda: {
            **places(inputs, fed, wanted),
            "mask_past": _past_mask(inputs, fed, slots),
            "mask_new": _new_mask(inputs, fed),
        },
    )
    shown = tokens(inputs, fed, wanted, kept, current=current)
    return (rows, fed, wanted), {**laid_out, **shown, "past_keys": keys, "past_values": values}


def places(inputs: NetworkInputs, fed: int, wanted: int) -> dict[str, Tensor]:
    """Where the tokens are, and which of them are predicted."""
    return {
        "positions": _filled(inputs.positions_BQ, fed),
        "wanted": _filled(inputs.want_BS, wanted),
    }


def tokens(
    inputs: NetworkInputs, fed: int, wanted: int, kept: Kept, *, current: bool
) -> dict[str, Tensor]:
    """The tokens that are fed and, with `current`, those whose log-probability is returned."""
    ids = _filled(inputs.ids_BQ, fed)
    if not current:
        return {"ids": ids}
    if inputs.current_BS is not None:
        return {"ids": ids, CURRENT: _filled(inputs.current_BS, wanted)}
    shape, device = (len(ids), wanted), ids.device
    nothing_BS = kept.of(
        "nothing", shape, lambda: torch.zeros(shape, dtype=torch.int32, device=device)
    )
    return {"ids": ids, CURRENT: nothing_BS}  # nobody reads what comes of it


def _filled(values_BX: Tensor, width: int) -> Tensor:
    """As wide as that, with zeros behind."""
    missing = width - values_BX.shape[1]
    return pad(values_BX, (0, missing)) if missing else values_BX


def _past(inputs: NetworkInputs, info: NetworkInfo, buckets: Buckets) -> tuple[Tensor, Tensor]:
    """Keys and values as the graph reads them, padded where their room is no bucket."""
    if inputs.past is None:
        rows = inputs.ids_BQ.shape[0]
        shape = (info.layers, rows, info.kv_heads, 0, info.head_dim)
        none = torch.empty(shape, dtype=info.dtype, device=info.device)
        return none, none
    whole = inputs.past.room or inputs.past  # the mask hides what is not of the call
    keys, values = whole.keys_YBGCE.contiguous(), whole.values_YBGCE.contiguous()
    missing = buckets.fit("slots", keys.shape[3]) - keys.shape[3]
    return (keys, values) if not missing else (_padded(keys, missing), _padded(values, missing))


def _padded(content_YBGCE: Tensor, missing: int) -> Tensor:
    return pad(content_YBGCE, (0, 0, 0, missing))


def _past_mask(inputs: NetworkInputs, fed: int, slots: int) -> Tensor:
    rows, count = inputs.ids_BQ.shape
    given = inputs.mask_past_B1QC
    if given is None:
        shape = (rows, 1, fed, slots)
        return torch.zeros(shape, dtype=torch.bool, device=inputs.ids_BQ.device)
    return pad(given, (0, slots - given.shape[3], 0, fed - count)).contiguous()


def _new_mask(inputs: NetworkInputs, fed: int) -> Tensor:
    rows, count = inputs.ids_BQ.shape
    given, device = inputs.mask_new_B1QQ, inputs.ids_BQ.device
    if given is None:
        given = torch.ones((rows, 1, count, count), dtype=torch.bool, device=device)
    extra = fed - count
    if extra:
        filler_Q = torch.arange(fed, device=device) >= count
        given = pad(given, (0, extra, 0, extra)) | torch.diag(filler_Q)
    return given.expand(rows, 1, fed, fed).contiguous()
