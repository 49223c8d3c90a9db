"""Token ids are searched in a fixed order, and the place that won is recorded."""

from __future__ import annotations

import pytest

from dlmkit.errors import ModelError
from dlmkit.models.config import Config
from dlmkit.models.family import FamilyDefaults
from dlmkit.models.special_ids import find_special_ids

DEFAULTS = FamilyDefaults(mask_id=90, eos_ids=(80,), eot_ids=(81,), eot_tokens=("<eot>",))


class FakeTokenizer:
    def __init__(self, declared_mask, tokens=()):
        self.declared_mask = declared_mask
        self.token_id = dict(tokens).get


def found(config=None, **options):
    return find_special_ids(Config(config or {}), DEFAULTS, options.pop("rows", 100), **options)


def test_the_mask_id_is_searched_in_order():
    """User, config, tokenizer, family."""
    config, tokenizer = {"mask_token_id": 2}, FakeTokenizer((3, "tokenizer: mask_token <m>"))
    places = [
        (1, "given by the user", found(config, mask_id=1, tokenizer=tokenizer)),
        (2, "config.json: mask_token_id", found(config, tokenizer=tokenizer)),
        (3, "tokenizer: mask_token <m>", found(tokenizer=tokenizer)),
        (90, "family default", found()),
    ]
    for expected, place, ids in places:
        assert (expected, place) == (ids.mask_id, ids.provenance["mask_id"])


def test_id_zero_counts():
    """Zero is a token, not an absence."""
    assert found({"mask_token_id": 5}, mask_id=0).mask_id == 0
    assert found({"mask_token_id": 0}).mask_id == 0


def test_family_defaults_outside_the_vocabulary_do_not_apply():
    """A family's tiny relative does not have the ids of the large one."""
    ids = found(rows=50)
    assert (None, (), ()) == (ids.mask_id, ids.eos_ids, ids.eot_ids)
    assert ids.provenance["mask_id"] == "not found"


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ({}, {"mask_id": 100}, r"mask_id 100 \(given by the user\) lies outside"),
        ({}, {"mask_id": -1}, r"mask_id -1 \(given by the user\)"),
        ({"mask_token_id": 100}, {}, r"mask_id 100 \(config\.json: mask_token_id\)"),
        ({"eos_token_id": [1, 100]}, {}, "eos_ids 100"),
        ({"pad_token_id": 100}, {}, "pad_id 100"),
    ],
)
def test_stated_ids_outside_the_vocabulary_are_errors(config, options, message):
    """The error names the id and who stated it."""
    with pytest.raises(ModelError, match=message):
        found(config, **options)


def test_end_ids_start_with_the_padding_id():
    """The first end id is the one that fills the rest of a row."""
    assert found({"eos_token_id": [5, 6], "pad_token_id": 6}).eos_ids == (6, 5)
    assert found({"eos_token_id": [5, 6]}).pad_id == 5


def test_turn_ends_are_looked_up_by_name_first():
    """The tokenizer's own id for the family's token wins over the default."""
    ids = found(tokenizer=FakeTokenizer(None, {"<eot>": 7}))
    assert ((7,), "tokenizer: <eot>") == (ids.eot_ids, ids.provenance["eot_ids"])
    assert found(tokenizer=FakeTokenizer(None)).eot_ids == (81,)
