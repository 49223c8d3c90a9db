"""`python -m dlmkit.testing.golden`: replay trace files and say what agrees."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import track

from dlmkit.errors import DlmkitError
from dlmkit.testing.golden.mapping import load_sampler_map
from dlmkit.testing.golden.replay import Networks
from dlmkit.testing.golden.report import Report, run_cases
from dlmkit.testing.golden.traces import GoldenCase, read_cases

if TYPE_CHECKING:
    from collections.abc import Iterable


@click.command(name="python -m dlmkit.testing.golden")
@click.option(
    "--fixtures",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that holds the checkpoints named in the traces.",
)
@click.option("--parity", is_flag=True, help="Also replay what a defect of the reference decided.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(fixtures: Path, traces: tuple[Path, ...], *, parity: bool, as_json: bool) -> None:
    """Replay golden traces against the presets.

    TRACES are .jsonl files or folders of them.  Exit code 0: everything that was replayed agrees;
    1: something differs, or nothing was replayed; 2: the request was wrong.
    """
    try:
        report = _run(fixtures, traces, parity=parity)
    except DlmkitError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(json.dumps(report.as_json()) if as_json else "\n".join(report.lines()))
    sys.exit(0 if report.passed else 1)


def _run(fixtures: Path, traces: Iterable[Path], *, parity: bool) -> Report:
    cases = _with_progress(read_cases(traces))
    return run_cases(cases, load_sampler_map(), Networks(fixtures), parity=parity)


def _with_progress(cases: list[GoldenCase]) -> Iterable[GoldenCase]:
    """Show a bar on standard error, and nothing where that is not a terminal."""
    console = Console(stderr=True)
    return track(
        cases, "Replaying traces", console=console, transient=True, disable=not console.is_terminal
    )


if __name__ == "__main__":
    main()
