"""Progress of work in stages, on standard error: silent where that is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dlmkit.cli.progress import error_console

if TYPE_CHECKING:
    from dlmkit_export.bundle.make import Stage

__all__ = ["stage_bar"]


@contextmanager
def stage_bar(what: str) -> Iterator[Stage]:
    """Show one bar that names the stage; it swings where nobody knows how much there is."""
    console = error_console()
    bar = Progress(
        TextColumn(f"[dim]{what}:[/] {{task.description}}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("starting", total=None)

    def report(stage: str, done: int, total: int) -> None:
        bar.update(task, description=stage, completed=done, total=total or None)

    with bar:
        yield report
