"""The `dlmkit` command: finds the module of a command, and turns errors into messages.

Help and completion import neither torch nor the module of any command of the project's own.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar

import click

from dlmkit.errors import DlmkitError, PluginError

__all__ = ["main"]

_WIDTH = 100
"""Characters of a line of help."""


def _added() -> Mapping[str, click.Command]:
    """Commands of plugins, by name; none where plugins are broken, as any command will say."""
    from dlmkit.plugins import plugin_commands

    try:
        return plugin_commands()
    except PluginError:
        return {}


class LazyGroup(click.Group):
    """A group whose own commands are imported when they run; its help needs none of them."""

    table: ClassVar[dict[str, str]] = {
        "bench": "Measure how fast a pipeline decodes on this machine.",
        "check": "Check spec files and report every problem.",
        "doctor": "Say what this machine can use, and what to install for the rest.",
        "explain": "Say what a pipeline does, step by step, and what it guarantees.",
        "generate": "Decode text from a prompt.",
        "ls": "List strategies, presets and other components.",
        "model": "Say what a checkpoint is: `dlmkit model inspect MODEL`.",
        "plugins": "List the installed plugins and what failed to load.",
        "profile": "Measure what a forward pass costs here, for weighted counts.",
        "schema": "Write the JSON Schema of specs, for editors.",
        "show": "Print a preset, or explain a component.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The project's own commands and those of plugins."""
        return sorted({**_added(), **self.table})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command, or take what a plugin offers."""
        if name in self.table:
            module = importlib.import_module(f"dlmkit.cli.{name}")
            command: click.Command = module.command
            return command
        return _added().get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        lines = self._lines()
        with formatter.section("Commands"):
            formatter.write_dl([(name, lines[name]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete command names."""
        from click.shell_completion import CompletionItem

        lines = self._lines()
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=lines[name]) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def _lines(self) -> Mapping[str, str]:
        """One line for each command."""
        added = {name: command.get_short_help_str(_WIDTH) for name, command in _added().items()}
        return {**added, **self.table}

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an expected error becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except DlmkitError as error:
            if ctx.params["traceback"]:
                traceback.print_exc()
            else:
                click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH},
)
@click.version_option(package_name="dlmkit", message="%(prog)s %(version)s")
@click.option("--traceback", is_flag=True, help="Show the stack trace of an error.")
def main(*, traceback: bool) -> None:
    """Compose, run and compare decoding strategies for diffusion language models."""
