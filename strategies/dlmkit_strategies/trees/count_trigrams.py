"""Count the tri-grams of a text file for the drafter `trigram-tree`.

`python -m dlmkit_strategies.trees.count_trigrams MODEL TEXT OUT`, a text in each line.
"""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from dlmkit import Runner, load_spec
from dlmkit_strategies.trees.trigram_table import TrigramTable

__all__ = ["main"]


@click.command()
@click.argument("model")
@click.argument("text", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def main(model: str, text: Path, out: Path) -> None:
    """Count the lines of TEXT in the tokens of MODEL, and write the table to OUT."""
    runner = Runner.load(load_spec("autoregressive", [f"models.main={model}"]))
    console = Console(stderr=True)
    lines = text.read_text(encoding="utf-8").splitlines()
    hidden = not console.is_terminal
    texts = (
        runner.encode([line], "plain")[0]
        for line in track(lines, "counting", console=console, disable=hidden)
    )
    table = TrigramTable.counted(texts)
    table.write(out)
    console.print(f"{len(table.pair_M)} pairs in {out}")


if __name__ == "__main__":
    main()
