"""`dlmkit schema`: the JSON Schema of specs, for editors."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit.plugins import get_plugins
from dlmkit.spec.schema import json_schema


def schema(*arguments: str):
    """Run `dlmkit schema`."""
    return CliRunner().invoke(main, ["schema", *arguments])


def test_the_schema_is_printed() -> None:
    """Data only on standard output."""
    assert json_schema(get_plugins().registry) == json.loads(schema().stdout)


def test_the_schema_is_written_to_a_file(tmp_path: Path) -> None:
    """The note goes to standard error."""
    file = tmp_path / "schema.json"
    result = schema("-o", str(file))
    assert ("", f"wrote {file}\n") == (result.stdout, result.stderr)
    assert json_schema(get_plugins().registry) == json.loads(file.read_text(encoding="utf-8"))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Exit code 2 and the system's reason."""
    file = tmp_path / "missing" / "schema.json"
    result = schema("-o", str(file))
    assert 2 == result.exit_code
    assert f"cannot write {file}: No such file or directory" in result.stderr
