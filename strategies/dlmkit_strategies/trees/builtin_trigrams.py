"""Count the tri-grams of the built-in tasks: `python -m dlmkit_strategies.trees.builtin_trigrams`.

Writes the table that ships for the built-in models, from the training side of every task.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from dlmkit.builtin.tasks import TASKS, draw
from dlmkit.builtin.tokenizer import EOS, builtin_tokenizer, chat_prompt
from dlmkit_strategies.trees.trigram_table import TrigramTable, table_file

__all__ = ["main"]


def texts(examples: int, seed: int) -> Iterator[str]:
    """So many texts of each task, as the models are shown them."""
    for task, generator in TASKS.items():
        source = draw(generator, f"corpus {seed} {task}", held_out=False)
        for each in islice(source, examples):
            prompt = "" if each.whole_text else chat_prompt(each.prompt)
            yield prompt + each.answer + EOS


@click.command()
@click.option("--examples", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=table_file("builtin/guide"))
def main(examples: int, seed: int, out: Path) -> None:
    """Count EXAMPLES texts of each task in the built-in tokens, and write the table."""
    tokenizer, console = builtin_tokenizer(), Console(stderr=True)
    every = list(texts(examples, seed))
    shown = track(every, "counting", console=console, disable=not console.is_terminal)
    table = TrigramTable.counted(tokenizer.encode(text).ids for text in shown)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.write(out)
    console.print(f"{len(table.pair_M)} pairs in {out}")


if __name__ == "__main__":
    main()
