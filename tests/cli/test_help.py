"""The command line as a whole: quick help without torch, errors without stack traces."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dlmkit.cli.main import LazyGroup, main
from dlmkit.errors import PluginError, StrategyError


def run(*arguments: str):
    """Run the command in this process."""
    return CliRunner().invoke(main, arguments)


def modules_after(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after running the code."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("argument", ["--help", "--version", "-h"])
def test_help_and_version_need_nothing_heavy(argument: str) -> None:
    """They answer before anything heavy is imported."""
    code = (
        "from dlmkit.cli.main import main\n"
        "import contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    main([{argument!r}])"
    )
    heavy = {"torch", "transformers", "onnx", "onnxruntime", "yaml", "rich"}
    assert not modules_after(code) & heavy


@pytest.mark.parametrize(
    "module", ["dlmkit", "dlmkit.component", "dlmkit.spec", "dlmkit.plugins", "dlmkit.spec.write"]
)
def test_the_light_modules_do_not_import_torch(module: str) -> None:
    """Tools may read specs without paying for torch."""
    assert "torch" not in modules_after(f"import {module}")


@pytest.mark.parametrize(
    "module",
    [f"dlmkit.cli.{name}" for name in ("check", "ls", "plugins", "schema", "show")]
    + [f"dlmkit_export.commands.{name}" for name in ("bundle", "export", "parity")],
)
def test_help_of_a_command_does_not_import_torch(module: str) -> None:
    """`dlmkit check --help` is as quick as `dlmkit --help`."""
    assert "torch" not in modules_after(f"import {module}")


def test_help_lists_every_command_in_order() -> None:
    """Each with one line."""
    output = run("--help").output
    names = sorted([*LazyGroup.table, "bundle", "export", "parity"])  # plugins add the last three
    places = [output.index(f"\n  {name} ") for name in names]
    assert sorted(places) == places
    assert all(line in output for line in LazyGroup.table.values())
    assert "Compile a model into a bundle" in output


@pytest.mark.parametrize("name", ["check", "ls", "plugins", "schema", "show"])
def test_the_line_in_the_list_agrees_with_the_command(name: str) -> None:
    """The table may not drift away from the modules."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert name == command.name
    assert run(name, "--help").exit_code == 0


def test_an_unknown_command_is_a_usage_error() -> None:
    """Exit code 2, like every wrong request."""
    result = run("chekc")
    assert 2 == result.exit_code
    assert "No such command 'chekc'" in result.output


def test_an_expected_error_is_a_message_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack trace; the hint is on its own line."""

    @click.command("boom")
    def boom() -> None:
        raise StrategyError("no memory left", hint="use a smaller batch")

    monkeypatch.setattr(main, "get_command", lambda ctx, name: boom)
    result = run("boom")
    assert (1, "error: no memory left\n  hint: use a smaller batch\n") == (
        result.exit_code,
        result.output,
    )
    traced = run("--traceback", "boom")
    assert 1 == traced.exit_code
    assert "Traceback (most recent call last)" in traced.output


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """What shells expect after Ctrl-C."""

    @click.command("wait")
    def wait() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "get_command", lambda ctx, name: wait)
    assert (130, "interrupted\n") == (run("wait").exit_code, run("wait").output)


def test_a_command_of_a_plugin_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins add commands and cannot replace ours."""
    commands = {
        "greet": click.Command("greet", callback=lambda: click.echo("hello"), help="Say hello."),
        "ls": click.Command("ls", help="Not this one."),
    }
    monkeypatch.setattr("dlmkit.plugins.plugin_commands", lambda: commands)
    assert "hello\n" == run("greet").output
    assert "Say hello." in run("--help").output
    assert "Not this one." not in run("--help").output + run("ls", "--help").output


def test_help_is_there_when_plugins_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without their commands; whatever is run will say what is wrong."""

    def broken() -> None:
        raise PluginError("the built-in plugins are not installed")

    monkeypatch.setattr("dlmkit.plugins.plugin_commands", broken)
    assert "Decode text from a prompt." in run("--help").output
    assert "No such command 'export'" in run("export").output


def test_names_of_commands_are_completed() -> None:
    """From the table, without importing a command."""
    items = main.shell_complete(click.Context(main), "pl")
    assert ["plugins"] == [item.value for item in items]
