"""The `dlmkit` command: finds the module of a command, and turns errors into messages.

Help and completion import neither torch nor any command's module.
"""

from __future__ import annotations

import importlib
import traceback
from typing import Any, ClassVar

import click

from dlmkit.errors import DlmkitError

__all__ = ["main"]


class LazyGroup(click.Group):
    """A group whose commands are imported when they run; its help needs none of them."""

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
        """The project's own commands; those of plugins are listed by `dlmkit plugins`."""
        return sorted(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command, or ask the plugins for it."""
        if name in self.table:
            module = importlib.import_module(f"dlmkit.cli.{name}")
            command: click.Command = module.command
            return command
        from dlmkit.plugins import get_plugins

        return get_plugins().commands.get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.table[name]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete command names from the table."""
        from click.shell_completion import CompletionItem

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self.table[name]) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

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
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Plugins may add commands; `dlmkit plugins` lists them.",
)
@click.version_option(package_name="dlmkit", message="%(prog)s %(version)s")
@click.option("--traceback", is_flag=True, help="Show the stack trace of an error.")
def main(*, traceback: bool) -> None:
    """Compose, run and compare decoding strategies for diffusion language models."""
