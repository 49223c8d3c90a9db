"""Name maps are pure data: what matches, where it goes, and back."""

from __future__ import annotations

import pytest

from dlmkit.models.config import Config
from dlmkit.models.decoder import Decoder
from dlmkit.models.names import Drop, NameMap, Piece, Rename, SplitRows, Stack
from dlmkit_strategies.families import FAMILIES, Huginn, Llada
from tests.models.checkpoints import tiny_config


def test_placeholders_keep_their_value():
    """The layer number and the rest of the name are carried over."""
    names = NameMap((Rename("h.{layer}.{tail}", "layers.{layer}.mlp.{tail}"),))
    assert (Piece("layers.12.mlp.up.weight"),) == names.pieces("h.12.up.weight")


def test_dots_are_literal():
    """A pattern's dot does not stand for any character."""
    assert NameMap((Rename("a.b", "c"),)).pieces("axb") is None


def test_layer_numbers_are_digits_only():
    """`{layer}` never matches text."""
    assert NameMap((Rename("h.{layer}.w", "w"),)).pieces("h.x.w") is None


def test_first_matching_rule_decides():
    """Order is meaning."""
    names = NameMap((Drop("{tail}.inv_freq"), Rename("model.{tail}", "model.{tail}")))
    assert () == names.pieces("model.rotary.inv_freq")


def test_fused_rows_are_cut_in_order():
    """Row counts become consecutive ranges."""
    names = NameMap((SplitRows("{layer}.qkv", ("{layer}.q", "{layer}.k"), (4, 2)),))
    assert (Piece("3.q", (0, 4)), Piece("3.k", (4, 6))) == names.pieces("3.qkv")


def test_unknown_parameters_have_no_source():
    """Asking for a name that no rule produces is a mistake of the caller."""
    with pytest.raises(KeyError):
        NameMap((Rename("a", "b"),)).to_source("c")


def test_llada_names_tell_the_head_from_the_down_projection():
    """`ff_out` means two things; the full path decides."""
    names = Llada().names(Llada().arch(Config(tiny_config())))
    assert (Piece("lm_head.weight"),) == names.pieces("model.transformer.ff_out.weight")
    assert (Piece("model.layers.7.mlp.down_proj.weight"),) == names.pieces(
        "model.transformer.blocks.7.ff_out.weight"
    )


RENAMING = [family for family in FAMILIES if family is not Huginn]
"""All but those whose network has the published names itself."""


@pytest.mark.parametrize("family", RENAMING, ids=lambda family: family.name)
def test_every_parameter_goes_out_and_back(family):
    """Writing a model in a family's layout and reading it again is the identity."""
    arch = Llada().arch(Config(tiny_config()))
    names = family().names(arch)
    for parameter, _ in Decoder(arch).named_parameters():
        found = names.pieces(names.to_source(parameter))
        assert parameter in {piece.parameter for piece in found}


def test_experts_are_stacked_by_number():
    """Each tensor goes to its place along the first dimension, and back."""
    names = NameMap((Stack("h.{layer}.e.{expert}.w", "layers.{layer}.experts"),))
    assert (Piece("layers.3.experts", slot=12),) == names.pieces("h.3.e.12.w")
    assert "h.3.e.12.w" == names.to_source("layers.3.experts", 12)
