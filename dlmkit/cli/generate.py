"""`dlmkit generate`: decode prompts and show what came out and what it cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlmkit.cli.count_option import count_option
from dlmkit.cli.load_runner import load_runner
from dlmkit.cli.progress import error_console
from dlmkit.cli.prompt_input import SAMPLE, read_prompts
from dlmkit.cli.spec_options import spec_options

if TYPE_CHECKING:
    from rich.console import Console

    from dlmkit.accounts.results import Result
    from dlmkit.accounts.traces import TraceWriter
    from dlmkit.cli.canvas_display import CanvasDisplay
    from dlmkit.generation import Decode, Runner
    from dlmkit.prompts import Mode

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  dlmkit generate "Tom has 12 apples. He buys 7 more. How many has he now?"
  dlmkit generate --pipeline fast-dllm --set gen_length=64 "sort: 7 3 9 1"
  dlmkit generate --infill "2 4 6 <mask> 10 <mask*2> 14"
  dlmkit generate --file prompts.txt --batch-size 8 --json > answers.jsonl
  dlmkit generate --model GSAI-ML/LLaDA-8B-Instruct --device cuda "..."
"""


@click.command("generate", epilog=_EXAMPLES)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option(
    "--file",
    "-f",
    type=click.Path(path_type=Path),
    help="Read prompts from a file: one on each line, or JSON Lines with `prompt`.",
)
@spec_options
@click.option("--chat", "mode", flag_value="chat", help="Prompts are a user's turn in a chat.")
@click.option("--plain", "mode", flag_value="plain", help="Prompts are text to continue.")
@click.option(
    "--infill",
    "mode",
    flag_value="infill",
    help="Fill the gaps of the prompts: <mask> is one token, <mask*5> five.",
)
@count_option(
    "--batch-size",
    "-b",
    default=1,
    says="Prompts decoded together; answers do not depend on it.",
)
@click.option(
    "--trace", type=click.Path(path_type=Path), help="Write every step to a JSON Lines file."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each prompt.")
@click.option("--quiet", "-q", is_flag=True, help="No display and no table.")
def command(
    prompts: tuple[str, ...],
    file: Path | None,
    mode: Mode | None,
    batch_size: int,
    trace: Path | None,
    as_json: bool,
    quiet: bool,
    seed: int,
    **spec: Any,
) -> None:
    """Decode each PROMPT and print the text.

    Prompts come from the arguments, from a file, or from standard input (also as `-`).  Without
    any, a sample problem is decoded.  By default prompts are chat turns where the model has a
    chat template, and text to continue where it has none.
    """
    console = error_console()
    texts = read_prompts(prompts, file)
    if not texts:
        texts = [SAMPLE]
        console.print(f"[dim]no prompt was given; decoding a sample:[/] {SAMPLE}", soft_wrap=True)
    mode = mode or "auto"
    runner = load_runner(console, spec, shown=not quiet)
    encoded = runner.encode(texts, mode)
    runner.check(encoded, infill=mode == "infill")
    decodes = _batches(runner, encoded, batch_size, infill=mode == "infill", seed=seed)
    try:
        results = _run(decodes, len(encoded), trace, console, as_json=as_json, shown=not quiet)
    except KeyboardInterrupt:
        kept = f"; the trace up to there is in {trace}" if trace else ""
        console.print(f"interrupted{kept}", markup=False, soft_wrap=True)
        sys.exit(130)
    if not quiet and not as_json:
        from dlmkit.cli.cost_table import cost_report

        console.print(cost_report(results))


def _batches(
    runner: Runner, prompts: Sequence[Sequence[int]], size: int, *, infill: bool, seed: int
) -> Iterator[Decode]:
    """Lay out one batch after the other; a prompt keeps its number whatever the batch size."""
    for first in range(0, len(prompts), size):
        batch = prompts[first : first + size]
        yield runner.start(batch, seed=seed, infill=infill, first_sample=first)


def _run(
    decodes: Iterator[Decode],
    prompts: int,
    trace: Path | None,
    console: Console,
    *,
    as_json: bool,
    shown: bool,
) -> list[Result]:
    """Decode batch after batch; print each as soon as it is finished."""
    display = _display(console, prompts) if shown and console.is_terminal else None
    results: list[Result] = []
    with ExitStack() as stack:
        writer = stack.enter_context(_writer(trace)) if trace else None
        for decode in decodes:
            records = writer.follow(decode) if writer else decode
            for _ in display.watch(decode, records, len(results)) if display else records:
                pass
            _print(decode.results(), as_json=as_json, first=not results)
            results += decode.results()
    return results


def _print(results: Sequence[Result], *, as_json: bool, first: bool) -> None:
    """Put texts (with a blank line between them) or JSON Lines on standard output."""
    for number, result in enumerate(results):
        if as_json:
            click.echo(json.dumps(result.as_json(), ensure_ascii=False))
        else:
            click.echo(result.text if first and not number else f"\n{result.text}")


def _display(console: Console, prompts: int) -> CanvasDisplay:
    from dlmkit.cli.canvas_display import CanvasDisplay

    return CanvasDisplay(console, prompts)


def _writer(path: Path) -> TraceWriter:
    from dlmkit.accounts.traces import TraceWriter

    return TraceWriter(path)
