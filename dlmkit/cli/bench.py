"""`dlmkit bench`: how fast a pipeline decodes here, and where the time goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dlmkit.cli.count_option import count_option
from dlmkit.cli.load_runner import load_runner
from dlmkit.cli.progress import error_console, repeats_bar
from dlmkit.cli.spec_options import spec_options

if TYPE_CHECKING:
    from rich.table import Table

    from dlmkit.benchmarking.measure import Measurement

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  dlmkit bench --threads 2
  dlmkit bench --pipeline fast-dllm --model GSAI-ML/LLaDA-8B-Instruct --json
"""


@click.command("bench", epilog=_EXAMPLES)
@spec_options
@count_option("--repeats", "-n", default=5, says="Decodes measured.")
@count_option("--warmup", default=1, least=0, says="Decodes before those.")
@count_option("--batch-size", "-b", default=1, says="Prompts decoded together.")
@count_option("--threads", says="CPU threads of PyTorch.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON object.")
def command(
    repeats: int,
    warmup: int,
    batch_size: int,
    threads: int | None,
    as_json: bool,
    seed: int,
    **spec: Any,
) -> None:
    """Decode a fixed set of prompts and report medians over the repeats.

    Forward time is what the networks take, decision time everything between two forward passes;
    overhead is wall time over forward time, minus one.  Models run on the engine that
    `dlmkit generate` takes for them.
    """
    console = error_console()
    runner = load_runner(console, spec, threads=threads)
    from dlmkit.benchmarking.measure import measure

    with repeats_bar(console, warmup + repeats) as advance:
        measured = measure(
            runner,
            repeats=repeats,
            warmup=warmup,
            batch_size=batch_size,
            seed=seed,
            advance=advance,
        )
    if as_json:
        click.echo(json.dumps(measured.as_json(), indent=2))
    else:
        from rich.console import Console

        Console(highlight=False).print(_table(measured))


def _table(measured: Measurement) -> Table:
    from rich import box
    from rich.table import Table

    facts = measured.as_json()
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, milliseconds in facts["forward_ms"].items():
        shown = "not used" if milliseconds is None else f"{milliseconds:.2f} ms"
        engine = facts["engines"][name]
        table.add_row(f"one forward pass of {name}, on {engine}", shown)
    table.add_row("decision, for each pass", f"{facts['decision_ms']:.2f} ms")
    table.add_row("overhead", f"{100 * facts['overhead']:.1f} %")
    table.add_row("tokens per second", f"{facts['tokens_per_second']:.1f}")
    for name, count in facts["nfe"].items():
        table.add_row(f"forward passes of {name}", str(count))
    table.add_row("fed positions", str(facts["fed_positions"]))
    table.add_row("peak memory", f"{facts['peak_memory_mb']:.0f} MiB")
    return table
