"""The hooks that a plugin may implement.

A plugin is a module named by an entry point of the group `dlmkit`; it implements what it needs:

    from dlmkit.plugins import hookimpl

    @hookimpl
    def dlmkit_components():
        from my_package.annealed import Annealed
        return [Annealed]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable
    from pathlib import Path

    import click

    from dlmkit.component import Component
    from dlmkit.spec.check import Check
    from dlmkit.spec.documents import ModelRef

__all__ = ["PROJECT", "hookimpl"]

PROJECT = "dlmkit"
"""Name of the entry-point group and of the pluggy project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def dlmkit_components() -> Iterable[type[Component]]:  # type: ignore[empty-body]
    """Component classes that this plugin offers.  Called once; import heavy modules inside."""


@hookspec
def dlmkit_presets() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Folders of preset files, `<preset name>.yaml` each."""


@hookspec
def dlmkit_checks() -> Iterable[Check]:  # type: ignore[empty-body]
    """Composition checks, applied to every pipeline document."""


@hookspec
def dlmkit_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Commands to add to the `dlmkit` command line; the project's own cannot be replaced."""


@hookspec(firstresult=True)
def dlmkit_resolve_model(ref: ModelRef) -> Path | None:
    """Turn a model reference into a local folder; the first answer wins."""
