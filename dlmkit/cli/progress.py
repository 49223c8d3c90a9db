"""Progress on standard error: silent where that is not a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["error_console", "loading_bar", "repeats_bar", "waiting"]


def error_console() -> Console:
    """A console on standard error, so that standard output holds data only."""
    return Console(stderr=True, highlight=False)


@contextmanager
def waiting(console: Console, what: str, *, shown: bool = True) -> Iterator[None]:
    """Show a spinner while something without measurable progress goes on."""
    if shown and console.is_terminal:
        with console.status(f"[dim]{what}[/]", spinner="dots"):
            yield
    else:
        yield


@contextmanager
def loading_bar(console: Console, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of bytes read; it appears with the first report, after any download."""
    bar = Progress(
        TextColumn("[dim]loading weights[/]"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
    task = bar.add_task("weights", total=None)

    def report(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()


@contextmanager
def repeats_bar(
    console: Console, total: int, what: str = "decoding"
) -> Iterator[Callable[[], None]]:
    """Show a bar that moves by one with each call of what it gives."""
    bar = Progress(
        TextColumn(f"[dim]{what}[/]"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(what, total=total)
    with bar:
        yield lambda: bar.advance(task)
