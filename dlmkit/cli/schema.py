"""`dlmkit schema`: write the JSON Schema of specs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dlmkit.errors import RequestError

__all__ = ["command"]


@click.command("schema")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
)
def command(*, output: Path | None) -> None:
    """Print the JSON Schema (draft-07) of specs, covering the plugins installed now.

    Editors with a YAML language server complete and check specs with it.
    """
    from dlmkit.plugins import get_plugins
    from dlmkit.spec.schema import json_schema

    text = json.dumps(json_schema(get_plugins().registry), indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise RequestError(f"cannot write {output}: {reason}", hint="check the path") from None
    click.echo(f"wrote {output}", err=True)
