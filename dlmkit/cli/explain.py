"""`dlmkit explain`: a pipeline as a sequence of steps, and what holds for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from dlmkit.explaining.explain import Explanation
    from dlmkit.explaining.outline import Step

__all__ = ["command"]


@click.command("explain")
@click.argument("spec", metavar="NAME|FILE")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(spec: str, *, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what a preset or spec file does, step by step, and what it guarantees.

    Everything is read off the declarations of its parts: no model is loaded, nothing is run.
    """
    from dlmkit.explaining.explain import explain
    from dlmkit.spec import load_spec

    found = explain(load_spec(spec, overrides))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    _print(found, Console(highlight=False))


def _print(found: Explanation, console: Console) -> None:
    from rich.markup import escape

    console.print(f"[bold]{escape(found.name)}[/]  {escape(found.description or '')}")
    for name, text in found.models.items():
        console.print(f"  [dim]model[/] {name} [dim]is[/] {escape(text)}")
    console.print(f"\n[bold]Steps[/] [dim]for {found.gen_length} tokens[/]")
    for depth, step in _walk(found.pipeline, 0):
        _print_step(console, step, depth)
    if found.guarantees is None:
        console.print("\n[dim]the procedure says nothing about what it guarantees[/]")
        return
    console.print("\n[bold]Guarantees[/]")
    for each in found.guarantees:
        mark = "[green]✓[/]" if each.holds else "[yellow]✗[/]"
        text = escape(each.claim if each.holds else f"no promise that {each.claim}")
        console.print(f"  {mark} {text} [dim]({escape(each.reason)})[/]")


def _walk(step: Step, depth: int) -> Iterator[tuple[int, Step]]:
    yield depth, step
    for inner in step.inner:
        yield from _walk(inner, depth + 1)


def _print_step(console: Console, step: Step, depth: int) -> None:
    """One line for what is done and with which options, indented by depth."""
    from rich.markup import escape
    from rich.padding import Padding

    options = ", ".join(f"{name} {json.dumps(value)}" for name, value in step.options.items())
    shown = f" [cyan]({escape(options)})[/]" if options else ""
    line = f"[dim]{step.slot}[/] [bold]{escape(step.use)}[/]{shown}: {escape(step.summary)}"
    console.print(Padding(line, (0, 0, 0, 2 + 2 * depth)))
