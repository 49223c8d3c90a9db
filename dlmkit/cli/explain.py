"""`dlmkit explain`: a pipeline as a sequence of steps, and what holds for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from dlmkit.errors import RequestError

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
@click.option(
    "--break-even",
    is_flag=True,
    help="Load the models and say when drafting pays, by what `dlmkit profile` measured.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(spec: str, *, overrides: tuple[str, ...], break_even: bool, as_json: bool) -> None:
    """Say what a preset or spec file does, step by step, and what it guarantees.

    Everything is read off the declarations of its parts: nothing is run, and no model is loaded
    unless prices are asked for.
    """
    from dlmkit.explaining.explain import explain
    from dlmkit.spec import load_spec

    document = load_spec(spec, overrides)
    found = explain(document)
    price = _break_even(spec, document) if break_even else None
    if as_json:
        shown = found.as_json() | {"break_even": price and price.as_json()}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    _print(found, console)
    if price is not None:
        _print_price(price, console)


def _break_even(spec: str, document: Document) -> BreakEven:
    """Weigh a round with what was measured for the models of the document."""
    from dlmkit.draft_verify.kernel import DraftVerify
    from dlmkit.explaining.break_even import break_even
    from dlmkit.generation import Runner

    procedure = document.pipeline
    if not isinstance(procedure, DraftVerify):
        raise RequestError(
            f"{spec} drafts nothing, so nothing has to pay", hint="leave out --break-even"
        )
    scales = Runner.load(document).scales
    if scales is None:
        raise RequestError(
            "the passes of these models have not been measured here",
            hint=f"run `dlmkit profile --pipeline {spec}` first",
        )
    return break_even(procedure, scales, document.gen_length)


def _print_price(price: BreakEven, console: Console) -> None:
    console.print("\n[bold]Break-even[/] [dim]in passes of the verifier over one canvas[/]")
    console.print(
        f"  {price.steps} drafted steps cost {price.drafting:.2f}, the pass over {price.rows} "
        f"state{'s' if price.rows > 1 else ''} {price.verifying:.2f}"
    )
    never = "drafting cannot pay on this machine, however good the guesses"
    pays = f"drafting pays where at least {price.acceptance or 0:.0%} of the steps are kept"
    console.print(f"  {never if price.acceptance is None else pays}")


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
