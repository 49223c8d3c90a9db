"""Whether the built-in models meet their bar: `python tests/benchmarks/builtin_accuracy.py`.

Prints a Markdown table for the model card, and exits with 1 when a bar is missed.
"""

from __future__ import annotations

import sys
from itertools import chain

import click
import torch

from dlmkit.builtin import CHECKPOINTS, checkpoint_path
from dlmkit.builtin.accuracy import Accuracy
from dlmkit.builtin.evaluate import Report, measure
from dlmkit.builtin.tasks import TASKS

BARS = {
    ("verifier", "lists", "up to 8 items"): 0.95,
    ("verifier", "word problems", "2 operations"): 0.85,
    ("drafter", "lists", "up to 8 items"): 0.50,
}


def _rows(report: Report) -> dict[str, Accuracy]:
    """What a task is reported by: all prompts, each kind, and the sizes that a bar is about."""
    rows = {"all": report.overall, **report.by_kind}
    if report.task == "lists":
        short = [value for size, value in report.by_size.items() if size <= 8]
        solved, total = sum(value.solved for value in short), sum(value.total for value in short)
        rows["up to 8 items"] = Accuracy(solved, total)
    return rows


def _line(model: str, task: str, kind: str, value: Accuracy) -> str:
    low, high = value.interval
    bar = BARS.get((model, task, kind))
    verdict = "" if bar is None else f"{bar:.0%} {'met' if value.rate >= bar else 'MISSED'}"
    shown = f"{value.solved}/{value.total} | {value.rate:.1%} | {low:.1%} to {high:.1%}"
    return f"| {model} | {task} | {kind} | {shown} | {verdict} |"


@click.command()
@click.option("--model", "models", type=click.Choice(CHECKPOINTS), multiple=True)
@click.option("--prompts", default=200, show_default=True)
@click.option("--gen-length", default=32, show_default=True)
@click.option("--threads", type=int)
def main(models: tuple[str, ...], prompts: int, gen_length: int, threads: int | None) -> None:
    """Measure the shipped checkpoints on held-out prompts."""
    if threads:
        torch.set_num_threads(threads)
    print("| model | task | kind | exact | rate | 95 % interval | bar |")
    print("|---|---|---|---|---|---|---|")
    lines = []
    for model in models or CHECKPOINTS:
        for task in (task for task in TASKS if task != "infill" or model != "guide"):
            report = measure(model, checkpoint_path(model), task, prompts, gen_length)
            lines.append([_line(model, task, *row) for row in _rows(report).items()])
            print("\n".join(lines[-1]), flush=True)
    sys.exit(any("MISSED" in line for line in chain.from_iterable(lines)))


if __name__ == "__main__":
    main()
