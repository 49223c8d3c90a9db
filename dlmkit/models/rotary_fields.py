"""The config fields that stretch rotary embedding beyond its training length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dlmkit.errors import ModelError
from dlmkit.models.arch import Llama3Scaling, YarnScaling

if TYPE_CHECKING:
    from dlmkit.models.config import Config

__all__ = ["read_scaling"]


def read_scaling(nested: Config) -> Llama3Scaling | YarnScaling | None:
    """Read `rope_parameters` (or `rope_scaling`); None where positions are not stretched.

    Args:
        nested: the fields of that mapping.

    Raises:
        ModelError: a field is missing or malformed, or the variant is not implemented.
    """
    kind = nested.fields.get("rope_type", nested.fields.get("type", "default"))
    if kind == "default":
        return None
    if kind == "llama3":
        return Llama3Scaling(
            factor=nested.number("factor"),
            low=nested.number("low_freq_factor"),
            high=nested.number("high_freq_factor"),
            original=nested.integer("original_max_position_embeddings"),
        )
    if kind == "yarn":
        return YarnScaling(
            factor=nested.number("factor"),
            original=nested.integer("original_max_position_embeddings"),
            beta_fast=nested.number("beta_fast", default=32),
            beta_slow=nested.number("beta_slow", default=1),
            magnitude=_magnitude(nested),
            truncate=nested.flag("truncate") is not False,
        )
    raise ModelError(
        f"{nested.origin} asks for rotary embedding of type {kind!r}, which is not implemented",
        hint="known are default, llama3 and yarn; use a checkpoint with one of these",
    )


def _magnitude(nested: Config) -> float:
    """YaRN's temperature, as a factor of cosines and sines; stated, or from the factor."""
    stated = nested.number("attention_factor", default=0)
    if stated:
        return stated
    factor = nested.number("factor")
    above, below = nested.number("mscale", default=0), nested.number("mscale_all_dim", default=0)
    if above and below:
        return _temperature(factor, above) / _temperature(factor, below)
    return _temperature(factor, 1.0)


def _temperature(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0
