"""A tiny checkpoint, and the command line run on it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from dlmkit.cli.main import main
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    return str(write_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def run(tiny_model):
    """Run a command on the tiny checkpoint, with short texts; returns click's result."""

    def invoke(command: str, *arguments: str, stdin: str | bytes | None = None) -> Result:
        given = ["--model", tiny_model, "--set", "gen_length=32", *arguments]
        return CliRunner().invoke(main, [command, *given], input=stdin)

    return invoke
