"""From the options of a command to a pipeline whose models are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlmkit.cli.progress import loading_bar, waiting
from dlmkit.cli.spec_options import document_from

if TYPE_CHECKING:
    from rich.console import Console

    from dlmkit.generation import Runner

__all__ = ["load_runner"]


def load_runner(
    console: Console, spec: dict[str, Any], *, threads: int | None = None, shown: bool = True
) -> Runner:
    """Check the spec, say what it warns of and which engines it runs on, and load its models.

    `threads` is PyTorch's number of CPU threads from here on; None leaves it.  Without `shown`
    nothing but warnings is printed.
    """
    with waiting(console, "starting", shown=shown):
        document = document_from(**spec)
        import torch

        from dlmkit.cli.usual_engine import with_usual_engine
        from dlmkit.generation import Runner
        from dlmkit.spec.report import render

        document, notes = with_usual_engine(document)
    for note in notes if shown else ():
        console.print(f"[dim]{note}[/]", soft_wrap=True)
    for warning in document.warnings:
        console.print(render(warning), markup=False, soft_wrap=True)
    if threads is not None:
        torch.set_num_threads(threads)
    with loading_bar(console, shown=shown) as progress:
        return Runner.load(document, progress=progress)
