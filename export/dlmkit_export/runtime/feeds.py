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

__all__ = ["feeds", "shared_feeds", "whole_slots"]


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
    slots = keys.shape[3]
    past_mask, new_mask = inputs.mask_past_B1QC, inputs.mask_new_B1QQ
    past_parts, new_parts = (past_mask, rows, count, slots), (new_mask, rows, count)
    given = shared_feeds(inputs, fed, wanted, kept, current=current)
    given["mask_past"] = kept.of("past", past_parts, lambda: _past_mask(inputs, fed, slots))
    given["mask_new"] = kept.of("new", new_parts, lambda: _new_mask(inputs, fed))
    return (rows, fed, wanted), given | {"past_keys": keys, "past_values": values}


def shared_feeds(
    inputs: NetworkInputs, fed: int, wanted: int, kept: Kept, *, current: bool
) -> dict[str, Tensor]:
    """The inputs that do not depend on what becomes of keys and values."""
    positions_BQ, want_BS = inputs.positions_BQ, inputs.want_BS
    given = {
        "ids": _integers(inputs.ids_BQ, fed),
        "positions": kept.of("positions", (positions_BQ,), lambda: _integers(positions_BQ, fed)),
        "wanted": kept.of("wanted", (want_BS,), lambda: _integers(want_BS, wanted)),
    }
    if current:
        parts = inputs.current_BS, len(inputs.ids_BQ), wanted
        given[CURRENT] = kept.of("current", parts, lambda: _current(inputs, wanted))
    return given


def whole_slots(content_YBGCE: Tensor) -> Tensor:
    """Return the contiguous memory that a view of its leading slots was taken from.

    A store keeps a spare slot behind those that a network may read; a graph reads contiguous
    memory, so it gets all of it, and the mask hides the rest.  Anything else is copied.
    """
    if content_YBGCE.is_contiguous():
        return content_YBGCE
    layers, rows, heads, slots, width = content_YBGCE.shape
    room = content_YBGCE.stride(2) // width
    strides = (rows * heads * room * width, heads * room * width, room * width, width, 1)
    end = content_YBGCE.storage_offset() + layers * strides[0]
    held = content_YBGCE.untyped_storage().nbytes() // content_YBGCE.element_size()
    if room < slots or end > held or content_YBGCE.stride() != strides:
        return content_YBGCE.contiguous()
    return content_YBGCE.as_strided((layers, rows, heads, room, width), strides)


def _integers(values_BX: Tensor, width: int) -> Tensor:
    narrow_BX = values_BX.to(torch.int32)
    missing = width - values_BX.shape[1]
    return (pad(narrow_BX, (0, missing)) if missing else narrow_BX).contiguous()


def _current(inputs: NetworkInputs, wanted: int) -> Tensor:
    if inputs.current_BS is not None:
        return _integers(inputs.current_BS, wanted)
    shape, device = (inputs.ids_BQ.shape[0], wanted), inputs.ids_BQ.device
    return torch.zeros(shape, dtype=torch.int32, device=device)  # nobody reads the result


def _past(inputs: NetworkInputs, info: NetworkInfo, buckets: Buckets) -> tuple[Tensor, Tensor]:
    """Keys and values as the graph reads them, padded where their room is no bucket."""
    if inputs.past is None:
        rows = inputs.ids_BQ.shape[0]
        shape = (info.layers, rows, info.kv_heads, 0, info.head_dim)
        none = torch.empty(shape, dtype=info.dtype, device=info.device)
        return none, none
    keys = whole_slots(inputs.past.keys_YBGCE)
    values = whole_slots(inputs.past.values_YBGCE)
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
