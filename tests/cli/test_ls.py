"""`dlmkit ls`: everything a spec can name."""

from __future__ import annotations

import json

from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit.plugins import get_plugins


def ls(*arguments: str):
    """Run `dlmkit ls`."""
    return CliRunner().invoke(main, ["ls", *arguments])


def test_every_component_is_listed() -> None:
    """By role and name, with one line each."""
    rows = json.loads(ls("--json").stdout)
    registry = get_plugins().registry
    expected = [(role, name) for role in registry.roles() for name in registry.of_role(role)]
    assert expected == [(row["role"], row["name"]) for row in rows]
    assert all(row["summary"] for row in rows)


def test_a_role_restricts_the_list() -> None:
    """Names of other roles are left out."""
    assert {"transfer"} == {row["role"] for row in json.loads(ls("transfer", "--json").stdout)}


def test_presets_are_listed_with_their_description() -> None:
    """`presets` stands where a role would."""
    rows = {row["name"]: row["summary"] for row in json.loads(ls("presets", "--json").stdout)}
    assert sorted(get_plugins().presets) == list(rows)
    assert "LLaDA's sampler" in rows["llada"]


def test_the_table_names_the_components() -> None:
    """For people."""
    result = ls("transfer")
    assert 0 == result.exit_code
    assert "threshold" in result.stdout


def test_an_unknown_role_gets_the_nearest() -> None:
    """Exit code 2."""
    result = ls("tranfer")
    assert 2 == result.exit_code
    assert "no role is called 'tranfer'\n  hint: did you mean 'transfer'?" in result.stderr
