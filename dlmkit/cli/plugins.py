"""`dlmkit plugins`: what is installed, and what failed to load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import click

if TYPE_CHECKING:
    from dlmkit.plugins import Plugins

__all__ = ["command"]


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(*, as_json: bool) -> None:
    """List the installed plugins, what they offer, and what failed to load.

    The environment variable DLMKIT_PLUGINS restricts loading to the plugins it names
    (comma-separated entry points or distributions); the built-ins are always loaded.
    """
    from dlmkit.plugins import get_plugins

    plugins = get_plugins()
    if as_json:
        found = {
            "plugins": [attrs.asdict(each) for each in plugins.loaded],
            "failures": [attrs.asdict(each) for each in plugins.failures],
            "commands": sorted(plugins.commands),
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(plugins)


def _print(plugins: Plugins) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("plugin", "distribution", "version", "components", "presets"):
        table.add_column(column)
    for each in plugins.loaded:
        cells: tuple[Any, ...] = attrs.astuple(each)
        table.add_row(*(escape(str(cell)) for cell in cells))
    console = Console()
    console.print(table)
    if plugins.commands:
        console.print(f"commands: {escape(', '.join(sorted(plugins.commands)))}")
    for failure in plugins.failures:
        console.print(f"[red]failed[/] {escape(str(failure))}", soft_wrap=True)
