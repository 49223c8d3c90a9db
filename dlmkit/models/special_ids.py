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
    from dlmkit.models.config import Config
    from dlmkit.models.family import FamilyDefaults
    from dlmkit.models.tokenizer import Tokenizer

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


@attrs.frozen
class _Found:
    """Ids and who stated them; no ids where nobody did."""

    ids: tuple[int, ...]
    place: str = "not found"


def find_special_ids(
    config: Config,
    defaults: FamilyDefaults,
    rows: int,
    tokenizer: Tokenizer | None = None,
    *,
    mask_id: int | None = None,
) -> SpecialIds:
    """Find each id: the user's value, the config, the tokenizer, the family's default.

    Args:
        config: the checkpoint's config.
        defaults: the family's conventions; ids outside the vocabulary do not apply.
        rows: number of embedding rows; every id must lie below it.
        tokenizer: the checkpoint's tokenizer, where it has one.
        mask_id: the user's own choice of mask token.

    Raises:
        ModelError: an id that a file or the user states lies outside the vocabulary.
    """
    eos = _first(_stated(config, "eos_token_id"), _default(defaults.eos_ids, rows))
    pad = _first(_stated(config, "pad_token_id"), _Found(eos.ids[:1], "the first end id"))
    found = {
        "mask_id": _mask(config, defaults, rows, tokenizer, mask_id),
        "eos_ids": eos,
        "eot_ids": _first(_named(defaults, tokenizer), _default(defaults.eot_ids, rows)),
        "pad_id": pad,
    }
    for field, each in found.items():
        _check(field, each, rows)
    return SpecialIds(
        mask_id=next(iter(found["mask_id"].ids), None),
        eos_ids=tuple(sorted(eos.ids, key=lambda token: token not in pad.ids)),
        eot_ids=found["eot_ids"].ids,
        pad_id=next(iter(pad.ids), None),
        provenance={field: each.place for field, each in found.items()},
    )


def _mask(
    config: Config,
    defaults: FamilyDefaults,
    rows: int,
    tokenizer: Tokenizer | None,
    mask_id: int | None,
) -> _Found:
    """Search the mask id, the one that is most often missing."""
    declared = None if tokenizer is None else tokenizer.declared_mask
    return _first(
        _Found((), "") if mask_id is None else _Found((mask_id,), "given by the user"),
        _stated(config, defaults.mask_field),
        _Found((), "") if declared is None else _Found((declared[0],), declared[1]),
        _default(() if defaults.mask_id is None else (defaults.mask_id,), rows),
    )


def _first(*choices: _Found) -> _Found:
    return next((each for each in choices if each.ids), _Found(()))


def _stated(config: Config, field: str) -> _Found:
    return _Found(config.ids(field), f"{config.origin}: {field}")


def _named(defaults: FamilyDefaults, tokenizer: Tokenizer | None) -> _Found:
    """Look up the tokens that end a turn by their text."""
    looked_up = (tokenizer.token_id(token) for token in defaults.eot_tokens) if tokenizer else ()
    ids = tuple(token_id for token_id in looked_up if token_id is not None)
    return _Found(ids, f"tokenizer: {', '.join(defaults.eot_tokens)}")


def _default(ids: tuple[int, ...], rows: int) -> _Found:
    """Keep defaults that exist in this vocabulary: a family's small relatives lack some."""
    return _Found(tuple(token for token in ids if token < rows), "family default")


def _check(field: str, found: _Found, rows: int) -> None:
    wrong = next((token for token in found.ids if not 0 <= token < rows), None)
    if wrong is not None:
        raise ModelError(
            f"{field} {wrong} ({found.place}) lies outside the vocabulary of {rows} rows",
            hint="give another mask token"
            if found.place == "given by the user"
            else "correct the file named above, or download it again",
        )
