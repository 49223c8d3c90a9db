"""Calls that use what a bundle offers beside the plain call, made of those of a decode.

Legend: B rows, Q fed positions, K mixed tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import torch

from dlmkit.need import Need
from dlmkit_export.contract import ATTENTION_TAPS, MIXED_INPUTS

if TYPE_CHECKING:
    from dlmkit.network import NetworkInputs

__all__ = ["probes"]

_TAPS = Need(taps=frozenset({"relevance", "rollout"}))
_SHARES = (0.75, 0.25)
"""Weights of a token and of the one fed before it."""


def probes(
    inputs: NetworkInputs, need: Need, abilities: frozenset[str]
) -> Iterator[tuple[NetworkInputs, Need]]:
    """The call as it is, then once with each ability; one that uses an ability stays alone."""
    yield inputs, need
    if need.taps or inputs.mix_ids_BQK is not None:
        return
    ids_BQ = inputs.ids_BQ
    if ATTENTION_TAPS in abilities:
        watch_BQ = torch.ones_like(ids_BQ, dtype=torch.bool)
        yield attrs.evolve(inputs, watch_BQ=watch_BQ), Need.union((need, _TAPS))
    if MIXED_INPUTS in abilities:
        ids_BQK = torch.stack((ids_BQ, ids_BQ.roll(1, dims=1)), dim=-1)
        weights_BQK = torch.tensor(_SHARES, device=ids_BQ.device).expand(ids_BQK.shape)
        yield attrs.evolve(inputs, mix_ids_BQK=ids_BQK, mix_weights_BQK=weights_BQK), need
