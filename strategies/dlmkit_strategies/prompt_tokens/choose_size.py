"""What a size of prompted trees is worth: `python -m dlmkit_strategies.prompt_tokens.choose_size`.

Prints for each size how many tokens a pass brings in the long run, and, once `dlmkit profile` has
measured the model, how that compares with one token a pass.  Source: parallel prompt decoding
(arXiv:2405.18628), which chooses trees by the latencies of the machine.
"""

from __future__ import annotations

from collections.abc import Callable

import click
from rich.console import Console
from rich.table import Table

from dlmkit import load_spec
from dlmkit.draft_verify.kernel import DraftVerify
from dlmkit.errors import DlmkitError, RequestError
from dlmkit.profiling.weighing import Scales
from dlmkit_strategies.prompt_tokens.guesses import PromptedTree
from dlmkit_strategies.prompt_tokens.tree_states import Shares, gain_per_pass, tree_states

__all__ = ["Worth", "main", "worths"]

SIZES = (4, 8, 16, 24, 40, 64, 96, 128)

KNOWN = 2
"""Positions that a pass is fed besides: the last token that stood, and the one that was added."""

Worth = tuple[int, float, float | None]
"""A size, its tokens a pass, and how much faster it is than one token a pass (None: unknown)."""


def worths(shares: Shares, seconds: Callable[[int], float] | None) -> list[Worth]:
    """Every size with its tokens a pass and its speed, by the seconds of so many fed positions."""
    found: list[Worth] = []
    for size in SIZES:
        tokens = 1 + gain_per_pass(tree_states(size, shares))
        speed = None if seconds is None else tokens * seconds(1) / seconds(size + KNOWN)
        found.append((size, tokens, speed))
    return found


@click.command()
@click.argument("pipeline", default="parallel-prompt")
@click.option("--set", "changes", multiple=True, help="Change the pipeline, KEY=VALUE.")
def main(pipeline: str, changes: tuple[str, ...]) -> None:
    """Print what each size of the pipeline's trees is worth."""
    try:
        document = load_spec(pipeline, list(changes))
        procedure = document.pipeline
        if not isinstance(procedure, DraftVerify) or not isinstance(procedure.draft, PromptedTree):
            raise RequestError(
                f"{pipeline} drafts no prompted trees", hint="choose one, such as parallel-prompt"
            )
        home = procedure.home()
        scales = Scales.recorded(document.models, home)
    except DlmkitError as error:
        raise click.ClickException(str(error)) from error
    costs = None if scales is None else scales.costs[home]
    seconds = None if costs is None else lambda fed: costs.of(1, fed)
    table = Table("size", "tokens a pass", "speed")
    for size, tokens, speed in worths(procedure.draft.agreement, seconds):
        table.add_row(str(size), f"{tokens:.2f}", "?" if speed is None else f"{speed:.2f}")
    Console().print(table)
    if seconds is None:
        hint = f"dlmkit profile --pipeline {pipeline} --rows 1 --fed 1,4,16,64,128"
        Console(stderr=True).print(f"nothing was measured for this model: {hint}")


if __name__ == "__main__":
    main()
