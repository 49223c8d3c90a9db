"""What calls of graphs with an ability are given besides, and give.

Legend: B rows, Q fed positions, C cache slots, K = C + Q keys (in `mix_`: mixed tokens), Y layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from dlmkit.errors import EngineError
from dlmkit_export.contract import ATTENTION_TAPS, MIXED_INPUTS, MIXTURE, TAPS, WATCHED

if TYPE_CHECKING:
    from dlmkit.need import Need
    from dlmkit.network import NetworkInputs
    from dlmkit_export.runtime.bound import Output

__all__ = ["ability_feeds", "ability_of", "ability_outputs", "taps_of"]


def ability_of(inputs: NetworkInputs, need: Need) -> str | None:
    """The ability that a call needs of its graph.

    Raises:
        EngineError: it needs two, and no graph has more than one.
    """
    mixed = inputs.mix_ids_BQK is not None
    tapped = "rollout" in need.taps or inputs.watch_BQ is not None
    if mixed and tapped:
        raise EngineError(
            "one pass of a bundle cannot both be fed mixtures and tell what attention saw",
            hint="use --engine torch",
        )
    return MIXED_INPUTS if mixed else ATTENTION_TAPS if tapped else None


def ability_feeds(inputs: NetworkInputs, ability: str | None, fed: int) -> dict[str, Tensor]:
    """Inputs by name; what is padded has no embedding, and is not watched."""
    rows, count = inputs.ids_BQ.shape
    if ability == MIXED_INPUTS:
        assert inputs.mix_ids_BQK is not None  # noqa: S101 - it was asked for
        assert inputs.mix_weights_BQK is not None  # noqa: S101 - never one without the other
        values = inputs.mix_ids_BQK, inputs.mix_weights_BQK
        padded = (pad(each, (0, 0, 0, fed - count)) for each in values)
        return dict(zip(MIXTURE, padded, strict=True))
    if ability == ATTENTION_TAPS:
        watch_BQ = inputs.watch_BQ
        if watch_BQ is None:
            watch_BQ = torch.zeros((rows, count), dtype=torch.bool, device=inputs.ids_BQ.device)
        return {WATCHED: pad(watch_BQ, (0, fed - count))}
    return {}


def ability_outputs(
    ability: str | None, layers: int, rows: int, fed: int, slots: int
) -> dict[str, Output]:
    """Shape and type of each output that only a graph with this ability has."""
    if ability != ATTENTION_TAPS:
        return {}
    shapes = (layers, rows, fed, slots + fed), (layers, rows, fed)
    return {name: (shape, torch.float32) for name, shape in zip(TAPS, shapes, strict=True)}


def taps_of(
    found: Mapping[str, Tensor], inputs: NetworkInputs, need: Need, slots: int
) -> tuple[Tensor | None, Tensor | None]:
    """`attention_YBQK` and `relevance_YBQ` as far as asked for, without what was padded."""
    seen, count, relevance_YBQ = None, inputs.ids_BQ.shape[1], None
    if "rollout" in need.taps:
        all_YBQK = found[TAPS[0]][:, :, :count]
        cached = 0 if inputs.past is None else inputs.past.keys_YBGCE.shape[3]
        seen = torch.cat((all_YBQK[..., :cached], all_YBQK[..., slots : slots + count]), dim=-1)
    if inputs.watch_BQ is not None:
        relevance_YBQ = found[TAPS[1]][:, :, :count].clone()
    return seen, relevance_YBQ
