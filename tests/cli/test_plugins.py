"""`dlmkit plugins`: what is installed, and what failed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit.plugins import get_plugins
from dlmkit.plugins.manager import PluginFailure


def plugins(*arguments: str):
    """Run `dlmkit plugins`."""
    return CliRunner().invoke(main, ["plugins", *arguments])


@pytest.fixture
def failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that could not be loaded."""
    failed = [PluginFailure("main", "dlmkit-bad", "ImportError: [gone]")]
    monkeypatch.setattr(get_plugins(), "failures", failed)


def test_the_built_ins_are_listed() -> None:
    """With their distribution and what they offer."""
    rows = {row["name"]: row for row in json.loads(plugins("--json").stdout)["plugins"]}
    assert {"core", "strategies"} <= set(rows)
    assert "dlmkit" == rows["core"]["distribution"]
    assert rows["strategies"]["presets"] > 0


@pytest.mark.usefixtures("failure")
def test_a_failure_is_listed_with_its_reason() -> None:
    """In the table and as data."""
    found = json.loads(plugins("--json").stdout)["failures"]
    assert [
        {"plugin": "main", "distribution": "dlmkit-bad", "error": "ImportError: [gone]"}
    ] == found
    assert "failed plugin 'main' of dlmkit-bad: ImportError: [gone]" in plugins().stdout
