"""`dlmkit ls`: list components and presets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from dlmkit.plugins import Plugins

__all__ = ["command"]

PRESETS = "presets"


@click.command("ls")
@click.argument("role", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(role: str | None, *, as_json: bool) -> None:
    """List what a spec can name: all components, those of a ROLE, or `presets`."""
    from dlmkit.plugins import get_plugins

    plugins = get_plugins()
    rows = _presets(plugins) if role == PRESETS else _components(plugins, role)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(rows)


def _components(plugins: Plugins, role: str | None) -> list[dict[str, Any]]:
    from dlmkit.spec.describe import summary
    from dlmkit.spec.report import nearest

    registry = plugins.registry
    if role is not None and role not in registry.roles():
        guess = nearest(role, (*registry.roles(), PRESETS))
        known = ", ".join((*registry.roles(), PRESETS))
        hint = f"did you mean {guess!r}?" if guess else f"known: {known}"
        raise RequestError(f"no role is called {role!r}", hint=hint)
    return [
        {
            "role": each,
            "name": registry.spelling(offer.cls),
            "version": offer.cls.version,
            "distribution": offer.distribution,
            "summary": summary(offer.cls),
        }
        for each in ([role] if role else registry.roles())
        for offer in registry.offers(each)
    ]


def _presets(plugins: Plugins) -> list[dict[str, Any]]:
    from dlmkit.spec.describe import preset_summary

    return [
        {"role": PRESETS, "name": name, "summary": preset_summary(file)}
        for name, file in sorted(plugins.presets.items())
    ]


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("role", style="dim")
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("what it does")
    last = None
    for row in rows:
        table.add_row("" if row["role"] == last else row["role"], row["name"], row["summary"])
        last = row["role"]
    Console().print(table)
