"""Presets: every one checks without a warning and says what it is."""

from __future__ import annotations

import re

import pytest

from dlmkit.plugins import get_plugins
from dlmkit.spec import load_spec

PRESETS = get_plugins().presets


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_checks_without_warnings(name: str) -> None:
    """What we ship is an example to others."""
    assert () == load_spec(name).warnings


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_named_like_its_file_and_described(name: str) -> None:
    """The name is in kebab-case; the description is there."""
    document = load_spec(name)
    assert name == document.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert document.description
