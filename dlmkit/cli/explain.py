"""`dlmkit explain`: a pipeline as a sequence of steps, and what holds for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from dlmkit.explaining.break_even import BreakEven
    from dlmkit.explaining.explain import Explanation
    from dlmkit.explaining.outline import Step
    from dlmkit.spec import Document

__all__ = ["command"]


@click.command("explain")
@click.argument("spec", metavar="NAME|FILE")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(spec: str, *, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what a preset or spec file does, step by step, and what it guarantees.

    Everything is read off the declarations of its parts: nothing is run, and no model is loaded.
    Where there is a drafter, and `dlmkit profile` has measured what passes cost, it also says when
    drafting pays.
    """
    from dlmkit.explaining.explain import explain
    from dlmkit.spec import load_spec

    document = load_spec(spec, overrides)
    found = explain(document)
    price, unpriced = _break_even(spec, document)
    if as_json:
        prices = {"break_even": price and price.as_json(), "break_even_missing": unpriced}
        click.echo(json.dumps(found.as_json() | prices, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    _print(found, console)
    if price is not None or unpriced is not None:
        _print_price(price, unpriced, console)


def _break_even(spec: str, document: Document) -> tuple[BreakEven | None, str | None]:
    """When drafting pays, or why that is not known; neither where nothing is drafted."""
    from dlmkit.cli.usual_engine import with_usual_engine
    from dlmkit.draft_verify.kernel import DraftVerify
    from dlmkit.explaining.break_even import break_even
    from dlmkit.profiling.weighing import Scales

    procedure = document.pipeline
    if not isinstance(procedure, DraftVerify):
        return None, None
    models = with_usual_engine(document)[0].models
    scales = Scales.recorded(models, procedure.home())
    if scales is None:
        return None, (
            "passes of these models were not measured here: run "
            f"`dlmkit profile --pipeline {spec}`, then explain again"
        )
    return break_even(procedure, scales, document.gen_length), None


def _print_price(price: BreakEven | None, unpriced: str | None, console: Console) -> None:
    from rich.markup import escape

    console.print("\n[bold]Break-even[/] [dim]in passes of the verifier over one canvas[/]")
    if price is None:
        _print_item(console, f"not known: {escape(unpriced or '')}")
        return
    _print_item(
        console,
        f"{price.steps} drafted steps cost {price.drafting:.2f}, the pass over {price.rows} "
        f"state{'s' if price.rows > 1 else ''} {price.verifying:.2f}",
    )
    never = "drafting cannot pay on this machine, however good the guesses"
    pays = f"drafting pays where at least {price.acceptance or 0:.0%} of the steps pass"
    _print_item(console, never if price.acceptance is None else pays)


def _print_item(console: Console, text: str) -> None:
    """A line that may be long, indented as a whole."""
    from rich.padding import Padding

    console.print(Padding(text, (0, 0, 0, 2)))


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
        number = f"; invariant {each.invariant}" if each.invariant else ""
        _print_item(console, f"{mark} {text} [dim]({escape(each.reason)}{number})[/]")


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
