"""Mask, end and padding ids of a checkpoint, each with the place it was found.

Published files are incomplete: the mask id in particular is often stated nowhere.  The search
order is fixed, and the winner is recorded so that a user can see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from dlmkit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dlmkit.models.config import Config
    from dlmkit.models.family import FamilyDefaults

__all__ = ["SpecialIds", "find_special_ids"]


@attrs.frozen(kw_only=True)
class SpecialIds:
    """Token ids with a meaning; `provenance` says where each was found, by field name.

    `eos_ids` end a text and the first of them pads; `eot_ids` end a turn of a dialogue.
    `mask_id` is None for models without a mask token.
    """

    mask_id: int | None
    eos_ids: tuple[int, ...]
    eot_ids: tuple[int, ...]
    pad_id: int | None
    provenance: Mapping[str, str] = attrs.field(factory=dict)


def find_special_ids(
    config: Config,
    defaults: FamilyDefaults,
    rows: int,
    *,
    mask_id: int | None = None,
    tokenizer_mask: tuple[int, str] | None = None,
    token_id: Callable[[str], int | None] = lambda token: None,
) -> SpecialIds:
    """Find each id: the user's value, the config, the tokenizer, the family's default.

    Args:
        config: the checkpoint's config.
        defaults: the family's conventions; ids outside the vocabulary do not apply.
        rows: number of embedding rows; every id must lie below it.
        mask_id: the user's own choice of mask token.
        tokenizer_mask: mask id that the tokenizer declares, and how it does so.
        token_id: looks up a token's id in the tokenizer.

    Raises:
        ModelError: an id that a file or the user states lies outside the vocabulary.
    """
    named = tuple(i for token in defaults.eot_tokens if (i := token_id(token)) is not None)
    mask, mask_from = _first(
        (((mask_id,), "given by the user") if mask_id is not None else ((), "")),
        (config.ids("mask_token_id"), f"{config.origin}: mask_token_id"),
        (((tokenizer_mask[0],), tokenizer_mask[1]) if tokenizer_mask else ((), "")),
        (_within((defaults.mask_id,), rows), "family default"),
    )
    eos, eos_from = _first(
        (config.ids("eos_token_id"), f"{config.origin}: eos_token_id"),
        (_within(defaults.eos_ids, rows), "family default"),
    )
    eot, eot_from = _first(
        (named, f"tokenizer: {', '.join(defaults.eot_tokens)}"),
        (_within(defaults.eot_ids, rows), "family default"),
    )
    pad, pad_from = _first(
        (config.ids("pad_token_id"), f"{config.origin}: pad_token_id"),
        (eos, "same as the first end id"),
    )
    found = SpecialIds(
        mask_id=mask[0] if mask else None,
        eos_ids=tuple(sorted(eos, key=lambda token: token not in pad)),
        eot_ids=eot,
        pad_id=pad[0] if pad else None,
        provenance={
            "mask_id": mask_from,
            "eos_ids": eos_from,
            "eot_ids": eot_from,
            "pad_id": pad_from,
        },
    )
    for field, token in _each(found):
        if not 0 <= token < rows:
            raise ModelError(
                f"{field} {token} ({found.provenance[field]}) lies outside the vocabulary of "
                f"{rows} rows",
                hint="give the mask token with --mask-id or correct the file named above"
                if field == "mask_id"
                else "correct the file named above",
            )
    return found


def _first(*choices: tuple[tuple[int, ...], str]) -> tuple[tuple[int, ...], str]:
    """Return the first choice that is not empty."""
    return next((choice for choice in choices if choice[0]), ((), "not found"))


def _within(ids: tuple[int | None, ...], rows: int) -> tuple[int, ...]:
    """Keep defaults that exist in this vocabulary: a family's small relatives lack some."""
    return tuple(token for token in ids if token is not None and token < rows)


def _each(ids: SpecialIds) -> Iterator[tuple[str, int]]:
    for field in ("mask_id", "eos_ids", "eot_ids", "pad_id"):
        value = getattr(ids, field)
        for token in value if isinstance(value, tuple) else () if value is None else (value,):
            yield field, token
