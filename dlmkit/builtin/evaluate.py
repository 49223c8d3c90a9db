"""Measure a built-in model on held-out prompts: `python -m dlmkit.builtin.evaluate`.

Greedy decoding, one token per step; accuracy is the share of exactly right completions.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

import attrs
import click
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dlmkit.builtin import CHECKPOINTS, CheckpointName, checkpoint_path
from dlmkit.builtin.accuracy import Accuracy, held_out
from dlmkit.builtin.decode import completions, continuations
from dlmkit.builtin.tasks import TASKS

__all__ = ["Report", "main", "measure"]

SEED = 20_261_122
"""Seed of the evaluation prompts; training never draws from the held-out side at all."""


@attrs.frozen(kw_only=True)
class Report:
    """Accuracy of one task, in all and by kind and size of its prompts."""

    task: str
    overall: Accuracy
    by_kind: dict[str, Accuracy]
    by_size: dict[int, Accuracy]
    seconds: float


def measure(model: CheckpointName, folder: Path, task: str, prompts: int, canvas: int) -> Report:
    """Decode held-out prompts of one task and count the exact answers."""
    examples = held_out(task, prompts, SEED)
    decode = continuations if model == "guide" else completions
    begin = time.perf_counter()
    answers = decode(folder, examples, canvas)
    seconds = time.perf_counter() - begin
    by_kind: dict[str, list[int]] = defaultdict(list)
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_kind[example.kind].append(index)
        by_size[example.size].append(index)

    def count(indices: list[int]) -> Accuracy:
        return Accuracy.of([examples[i] for i in indices], [answers[i] for i in indices])

    return Report(
        task=task,
        overall=count([*range(prompts)]),
        by_kind={kind: count(indices) for kind, indices in sorted(by_kind.items())},
        by_size={size: count(indices) for size, indices in sorted(by_size.items())},
        seconds=seconds,
    )


def _table(model: str, reports: list[Report]) -> Table:
    table = Table(title=f"{model}: exact answers, greedy, one token per step")
    for column in ("task", "kind", "exact", "rate", "95 % interval"):
        table.add_column(column)
    for report in reports:
        for kind, accuracy in {"all": report.overall, **report.by_kind}.items():
            low, high = accuracy.interval
            table.add_row(
                report.task if kind == "all" else "",
                kind,
                f"{accuracy.solved}/{accuracy.total}",
                f"{accuracy.rate:.1%}",
                f"{low:.1%} to {high:.1%}",
            )
    return table


def _as_json(model: str, canvas: int, reports: list[Report]) -> str:
    def plain(accuracy: Accuracy) -> dict[str, object]:
        return {
            "solved": accuracy.solved,
            "total": accuracy.total,
            "rate": accuracy.rate,
            "interval": accuracy.interval,
        }

    tasks = {
        report.task: {
            **plain(report.overall),
            "seconds": report.seconds,
            "by_kind": {kind: plain(value) for kind, value in report.by_kind.items()},
            "by_size": {size: plain(value) for size, value in report.by_size.items()},
        }
        for report in reports
    }
    return json.dumps({"model": model, "seed": SEED, "gen_length": canvas, "tasks": tasks})


@click.command()
@click.option("--model", type=click.Choice(CHECKPOINTS), default="verifier", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Another checkpoint folder.")
@click.option("--prompts", type=click.IntRange(1), default=200, show_default=True)
@click.option("--gen-length", type=click.IntRange(1), default=32, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads; all by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    model: CheckpointName,
    folder: Path | None,
    prompts: int,
    gen_length: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Print the accuracy of a built-in model per task and kind of prompt."""
    if threads:
        torch.set_num_threads(threads)
    folder = folder or checkpoint_path(model)
    tasks = [task for task in TASKS if task != "infill" or model != "guide"]
    console = Console(stderr=True)
    steps = track(tasks, "decoding", console=console, disable=not console.is_terminal)
    reports = [measure(model, folder, task, prompts, gen_length) for task in steps]
    if as_json:
        click.echo(_as_json(model, gen_length, reports))
    else:
        Console(width=100).print(_table(model, reports))


if __name__ == "__main__":
    main()
