"""`dlmkit profile`: what a forward pass of each model costs here, by rows and fed positions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dlmkit.cli.count_option import count_option
from dlmkit.cli.load_runner import load_runner
from dlmkit.cli.progress import error_console, repeats_bar
from dlmkit.cli.spec_options import spec_options
from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from dlmkit.profiling.costs import CostTable

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  dlmkit profile
  dlmkit profile --pipeline dual-diffusion-lossless --rows 1,5,9 --fed 64,96
"""


def _sizes(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[int] | None:
    """Read a list such as `1,2,4`."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise RequestError(f"{parameter.opts[0]} {text}: not a list of sizes", hint="write 1,2,4")
    return [int(part) for part in parts]


@click.command("profile", epilog=_EXAMPLES)
@spec_options
@click.option("--rows", callback=_sizes, metavar="N,N", help="Rows of a pass; by default 1 to 16.")
@click.option(
    "--fed", callback=_sizes, metavar="N,N", help="Fed positions in a row; by default 1 to 128."
)
@count_option(
    "--repeats",
    "-n",
    default=3,
    says="Passes of which the fastest counts, after one that does not.",
)
@count_option("--threads", says="CPU threads of PyTorch.")
@click.option("--json", "as_json", is_flag=True, help="Print the times as one JSON object.")
def command(
    rows: list[int] | None,
    fed: list[int] | None,
    repeats: int,
    threads: int | None,
    as_json: bool,
    seed: int,
    **spec: Any,
) -> None:
    """Measure every model of a pipeline and keep the times for later.

    Results and `dlmkit explain` weigh forward passes by them, and so compare pipelines whose
    passes differ in size.  Times belong to this machine, engine and number of threads; models run
    on the engine that `dlmkit generate` takes for them.
    """
    console = error_console()
    models = load_runner(console, spec, threads=threads).models
    from dlmkit.profiling.measure import FED, ROWS, measure_costs
    from dlmkit.profiling.store import keep_costs

    sizes = rows or ROWS, fed or FED
    shapes = len(set(sizes[0])) * len(set(sizes[1]))
    found: dict[str, tuple[CostTable, Path]] = {}
    with repeats_bar(console, shapes * len(models), "measuring") as advance:
        for name, model in models.items():
            costs = measure_costs(model.network, *sizes, repeats=repeats, advance=advance)
            found[name] = costs, keep_costs(model, costs)
    if as_json:
        click.echo(json.dumps({name: _plain(*each) for name, each in found.items()}, indent=2))
    else:
        _print(found)


def _plain(costs: CostTable, path: Path) -> dict[str, Any]:
    seconds = [[rows, fed, time] for (rows, fed), time in sorted(costs.seconds.items())]
    return {"file": str(path), "seconds": seconds}


def _print(found: dict[str, tuple[CostTable, Path]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for name, (costs, path) in found.items():
        console.print(_table(name, costs))
        console.print(f"[dim]kept in {path}[/]", soft_wrap=True)


def _table(name: str, costs: CostTable) -> Table:
    """Milliseconds of a pass: fed positions down, rows across."""
    from rich import box
    from rich.table import Table

    title = f"milliseconds of a forward pass of {name}"
    table = Table(title=title, box=box.SIMPLE_HEAD, header_style="dim")
    table.add_column("fed", justify="right", style="dim")
    for rows in costs.rows:
        table.add_column(f"{rows} row{'s' if rows > 1 else ''}", justify="right")
    for fed in costs.fed:
        table.add_row(str(fed), *(f"{1000 * costs.of(rows, fed):.2f}" for rows in costs.rows))
    return table
