"""`dlmkit show`: what a component does, and the text of a preset."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit.plugins import get_plugins


def show(*arguments: str):
    """Run `dlmkit show`."""
    return CliRunner().invoke(main, ["show", *arguments])


def test_a_component_is_shown_with_its_options() -> None:
    """Type, default and meaning of each."""
    found = json.loads(show("threshold", "--json").stdout)["components"][0]
    assert ("transfer", "threshold", "dlmkit") == (
        found["role"],
        found["name"],
        found["distribution"],
    )
    assert {
        "name": "threshold",
        "type": "a number or a numeric schedule",
        "required": False,
        "default": 0.9,
        "doc": "smallest probability that is committed",
        "examples": [],
    } == found["options"][0]


def test_a_name_of_several_roles_shows_them_all() -> None:
    """`--role` chooses one."""
    everything = json.loads(show("when", "--json").stdout)["components"]
    chosen = json.loads(show("when", "--role", "stop", "--json").stdout)["components"]
    assert len(everything) > 1
    assert ["stop"] == [found["role"] for found in chosen]


def test_a_preset_is_printed_as_it_is() -> None:
    """Ready to be redirected into a file of one's own."""
    text = get_plugins().presets["llada"].read_text(encoding="utf-8")
    assert text.rstrip() + "\n" == show("llada").stdout


def test_the_table_is_readable() -> None:
    """Name, documentation, options."""
    output = show("threshold").stdout
    assert "threshold (transfer; dlmkit, version 1)" in output
    assert "arXiv:2505.22618" in output


@pytest.mark.parametrize("role", sorted(get_plugins().registry.roles()))
def test_every_component_can_be_shown(role: str) -> None:
    """No default or type trips the listing."""
    for name in get_plugins().registry.of_role(role):
        result = show(name, "--role", role)
        assert 0 == result.exit_code, result.output


def test_an_unknown_name_gets_the_nearest() -> None:
    """Among components and presets."""
    result = show("treshold")
    assert 2 == result.exit_code
    assert "no component or preset is called 'treshold'" in result.stderr
    assert "did you mean 'threshold'?" in result.stderr
