"""How much memory a forward pass takes, and what to say when there is not enough.

Legend: B rows, Q fed positions, C cache slots, S wanted rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.errors import EngineError
from dlmkit.models.free_memory import free_bytes

if TYPE_CHECKING:
    from dlmkit.models.arch import ArchSpec
    from dlmkit.need import Need
    from dlmkit.network import NetworkInfo, NetworkInputs

__all__ = ["bytes_per_row", "head_rows_at_once", "out_of_memory"]

_HEAD_BYTES = 256 * 2**20
"""Bound on one slice of float32 logits; larger requests are scored in slices."""


def head_rows_at_once(rows: int, vocabulary: int) -> int:
    """Return how many wanted positions (for all `rows` together) the head takes in one slice."""
    return max(1, _HEAD_BYTES // (4 * rows * vocabulary))


def bytes_per_row(
    arch: ArchSpec, value_bytes: int, fed: int, cached: int, wanted: int, need: Need
) -> int:
    """Estimate the bytes that one row of a batch needs during a pass, weights not counted.

    Counts the fresh keys and values of all layers, one layer's activations, its joined keys and
    values, the mask, and the wanted logits in float32.
    """
    fresh = fed * arch.kv_bytes_per_token(value_bytes)
    layer = fed * value_bytes * (6 * arch.hidden + 3 * arch.active_ffn)
    joined = 2 * (fed + cached) * arch.kv_heads * arch.head_dim * value_bytes
    mask = fed * (fed + cached)
    logits = 4 * arch.vocab_rows * (wanted if need.logits else 0)
    return fresh + layer + joined + mask + logits


def out_of_memory(
    arch: ArchSpec, info: NetworkInfo, inputs: NetworkInputs, need: Need
) -> EngineError:
    """Describe a pass that did not fit, and the largest batch that is likely to."""
    rows, fed = inputs.ids_BQ.shape
    wanted = inputs.want_BS.shape[1]
    cached = 0 if inputs.past is None else inputs.past.keys_YBGCE.shape[3]
    each = bytes_per_row(arch, info.dtype.itemsize, fed, cached, wanted, need)
    free = free_bytes(info.device)
    fit = min(rows - 1, free // each)
    asked = f"{rows} rows x {fed} fed positions, {cached} cached, {wanted} wanted"
    advice = (
        f"about {fit} rows of this size would fit: lower the batch size"
        if fit > 0
        else "not even one row fits: shorten the text, use a cache policy that feeds fewer "
        "positions, a smaller dtype, or another device"
    )
    return EngineError(
        f"out of memory on {info.device} in a forward pass of {asked} "
        f"(about {rows * each / 2**20:.0f} MiB; {free / 2**20:.0f} MiB free)",
        hint=advice,
    )
