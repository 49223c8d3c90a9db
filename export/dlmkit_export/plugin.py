"""The entry point of the compiled engines: what this package adds to dlmkit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dlmkit.plugins import hookimpl

if TYPE_CHECKING:
    import click

    from dlmkit.component import Component


@hookimpl
def dlmkit_components() -> Iterable[type[Component]]:
    """List the engines."""
    from dlmkit_export.runtime.engine import OnnxRuntimeEngine

    return (OnnxRuntimeEngine,)


@hookimpl
def dlmkit_commands() -> Iterable[click.Command]:
    """List the commands that make, check and compare bundles."""
    from dlmkit_export.commands.bundle import bundle
    from dlmkit_export.commands.export import export
    from dlmkit_export.commands.parity import parity

    return (export, bundle, parity)
