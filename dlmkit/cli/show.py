"""`dlmkit show`: explain a component, or print a preset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from dlmkit.plugins import Plugins

__all__ = ["command"]


@click.command("show")
@click.argument("name")
@click.option("--role", help="Show the component of this role only.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(name: str, *, role: str | None, as_json: bool) -> None:
    """Print the preset NAME, or explain the components of that name."""
    from dlmkit.plugins import get_plugins

    plugins = get_plugins()
    components = _components(plugins, name, role)
    preset = None
    if role is None and name in plugins.presets:
        preset = plugins.presets[name].read_text(encoding="utf-8")
    if not components and preset is None:
        raise _unknown(plugins, name, role)
    if as_json:
        found = {"components": components, "preset": preset}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if preset is not None:
        click.echo(preset.rstrip())
        for facts in components:  # apart from the data, which may be redirected into a file
            click.echo(f"see also: dlmkit show {name} --role {facts['role']}", err=True)
        return
    for facts in components:
        _print(facts)


def _components(plugins: Plugins, name: str, role: str | None) -> list[dict[str, Any]]:
    from dlmkit.spec.describe import component_facts

    registry = plugins.registry
    return [
        component_facts(offer.cls, registry)
        for each in registry.roles()
        if role in (None, each)
        for offer in registry.offers(each)
        if name in (offer.cls.name, offer.qualified)
    ]


def _unknown(plugins: Plugins, name: str, role: str | None) -> RequestError:
    from dlmkit.spec.report import nearest

    roles = [role] if role else plugins.registry.roles()
    names = [offer.cls.name for each in roles for offer in plugins.registry.offers(each)]
    guess = nearest(name, [*names, *(() if role else plugins.presets)])
    more = "`dlmkit ls` lists components, `dlmkit ls presets` presets"
    what = f"{role} component" if role else "component or preset"
    hint = f"did you mean {guess!r}? {more}" if guess else more
    return RequestError(f"no {what} is called {name!r}", hint=hint)


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    origin = f"{facts['distribution']}, version {facts['version']}"
    console.print(f"[bold]{escape(facts['name'])}[/] ({escape(facts['role'])}; {escape(origin)})")
    console.print(escape(facts["doc"]), highlight=False)
    if facts["options"]:
        table = Table(box=None, pad_edge=False)
        for column in ("option", "takes", "default", "meaning"):
            table.add_column(column)
        for each in facts["options"]:
            default = "required" if each["required"] else json.dumps(each["default"])
            cells = (each["name"], each["type"], default, each["doc"])
            table.add_row(*(escape(cell) for cell in cells))
        console.print(table)
    for slot, value in facts.get("expands", {}).items():
        console.print(escape(f"fills {slot}: {json.dumps(value)}"), highlight=False, soft_wrap=True)
    console.print()
