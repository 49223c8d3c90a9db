"""The inputs of a graph that writes into its cache: the store itself, layer by layer.

Legend: B rows, Q fed positions, C cache slots, Y layers, G key/value heads, E head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit_export.contract import caches, written
from dlmkit_export.runtime.feeds import places, tokens

if TYPE_CHECKING:
    from dlmkit.host.kept import Kept
    from dlmkit.network import KeyValues, NetworkInfo, NetworkInputs
    from dlmkit_export.bundle.buckets import Buckets

__all__ = ["feeds_in_place", "rooms_of"]

_ORDINARY = "use a bundle that was exported without --in-place"


def feeds_in_place(
    inputs: NetworkInputs, info: NetworkInfo, buckets: Buckets, kept: Kept, *, current: bool
) -> tuple[tuple[int, int, int], dict[str, Tensor]]:
    """Return the sizes `(rows, fed, wanted)`, and the graph's inputs by name.

    Raises:
        EngineError: the cache is too small, or a row does not compute one run of positions.
    """
    rows, fed = inputs.ids_BQ.shape
    wanted = buckets.fit("wanted", max(1, inputs.want_BS.shape[1]))
    past, new = inputs.mask_past_B1QC, inputs.mask_new_B1QQ
    assert inputs.past is not None and past is not None  # noqa: S101, PT018 - always in place
    _refuse_size(info, past.shape[3])
    laid_out = kept.of(
        "laid out",
        (inputs.positions_BQ, inputs.want_BS, past, new),
        lambda: places(inputs, fed, wanted) | _written(info, inputs.positions_BQ, past, new),
    )
    shown = tokens(inputs, fed, wanted, kept, current=current)
    return (rows, fed, wanted), laid_out | shown | _by_layer(inputs.past, caches(info.layers))


def rooms_of(store: KeyValues) -> dict[str, Tensor]:
    """The same caches by the names of the graph's outputs."""
    return _by_layer(store, written(len(store.keys_YBGCE)))


def _by_layer(store: KeyValues, names: tuple[str, ...]) -> dict[str, Tensor]:
    layers = zip(store.keys_YBGCE, store.values_YBGCE, strict=True)
    return dict(zip(names, (each for layer in layers for each in layer), strict=True))


def _refuse_size(info: NetworkInfo, slots: int) -> None:
    if slots != info.cache_slots:
        raise EngineError(
            f"this decode needs {slots} cache slots, but the cache of the bundle has "
            f"{info.cache_slots}",
            hint=f"export again with --in-place {slots}, or decode less at once",
        )


def _written(
    info: NetworkInfo, positions_BQ: Tensor, past_B1QC: Tensor, new_B1QQ: Tensor | None
) -> dict[str, Tensor]:
    """Where each row begins to write, and what is seen of all slots afterwards."""
    start_B = _starts(info, positions_BQ, past_B1QC)
    return {"write_index": start_B, "mask": _mask(past_B1QC, new_B1QQ, start_B)}


def _starts(info: NetworkInfo, positions_BQ: Tensor, past_B1QC: Tensor) -> Tensor:
    """Where each row begins to write, int64, after checking what it would write over."""
    start_B, fed = positions_BQ[:, 0].contiguous(), positions_BQ.shape[1]
    run_BQ = start_B[:, None] + torch.arange(fed, device=positions_BQ.device)
    slots_C = torch.arange(past_B1QC.shape[3], device=positions_BQ.device)
    window_BC = (slots_C >= start_B[:, None]) & (slots_C < start_B[:, None] + fed)
    read_BC = past_B1QC.any(dim=2)[:, 0]
    astray, end, over = torch.stack(
        ((positions_BQ != run_BQ).sum(), start_B.amax() + fed, (window_BC & read_BC).sum())
    ).tolist()
    if astray:
        raise EngineError(
            "the bundle writes one run of neighbouring positions into its cache in each row, but "
            "this pass computes others",
            hint=f"{_ORDINARY}, or a cache policy that computes neighbours, such as dual",
        )
    _refuse_size(info, max(end, past_B1QC.shape[3]))
    if over:
        raise EngineError(
            "rows of this pass compute different numbers of positions; in the shorter ones filler "
            "would be written over what they read",
            hint=f"{_ORDINARY}, or decode one prompt at a time (--batch-size 1)",
        )
    return start_B


def _mask(past_B1QC: Tensor, new_B1QQ: Tensor | None, start_B: Tensor) -> Tensor:
    """What is seen of all slots once the fed positions are in theirs."""
    rows, _, fed, _ = past_B1QC.shape
    place_BQ = start_B[:, None] + torch.arange(fed, device=start_B.device)
    place_B1QQ = place_BQ[:, None, None].expand(rows, 1, fed, fed)
    if new_B1QQ is None:
        new_B1QQ = torch.ones((rows, 1, fed, fed), dtype=torch.bool, device=start_B.device)
    return past_B1QC.scatter(3, place_B1QQ, new_B1QQ.expand_as(place_B1QQ)).contiguous()
