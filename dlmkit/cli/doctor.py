"""`dlmkit doctor`: what this machine can use, and what to install for the rest."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from dlmkit.cli.progress import error_console, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["command"]

_YES, _NO = "[green]✓[/]", "[red]✗[/]"


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
def command(*, as_json: bool) -> None:
    """Say what hardware, engines, models and plugins are usable here.

    For what is not, the way to get it is given.  The network is not touched.
    """
    with waiting(error_console(), "looking around"):
        found = _findings()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(found):
        console.print(line)


def _findings() -> dict[str, Any]:
    from dlmkit.cli.engine_report import engine_reports
    from dlmkit.host.hardware import describe_hardware, describe_versions
    from dlmkit.plugins import get_plugins

    plugins = get_plugins()
    return {
        "versions": describe_versions(),
        "hardware": describe_hardware(),
        "engines": engine_reports(),
        "models": _builtin_models(),
        "hub": _hub(),
        "plugins": {
            "loaded": [f"{each.distribution}:{each.name}" for each in plugins.loaded],
            "failures": [str(failure) for failure in plugins.failures],
        },
    }


def _builtin_models() -> dict[str, bool]:
    """Which built-in checkpoints have their weights."""
    from dlmkit.builtin import CHECKPOINTS, checkpoint_path

    return {
        f"builtin/{name}": (checkpoint_path(name) / "model.safetensors").is_file()
        for name in CHECKPOINTS
    }


def _hub() -> dict[str, Any]:
    """Settings of the hub client, which decide whether and where it downloads."""
    from huggingface_hub import constants

    return {
        "offline": bool(constants.HF_HUB_OFFLINE),
        "cache": str(constants.HF_HUB_CACHE),
        "HF_HOME": os.environ.get("HF_HOME"),
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE"),
    }


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the findings as text with rich markup."""
    machine = found["hardware"]
    yield "[bold]Machine[/]"
    yield f"  {machine['cpu']}, {machine['cores']} cores, {machine['memory_mb'] / 1024:.0f} GiB"
    half = "has bfloat16 instructions" if machine["bfloat16_on_cpu"] else "no bfloat16 instructions"
    yield f"  PyTorch uses {machine['threads']} threads; {half}"
    for gpu in machine["gpus"]:
        memory = f"{gpu['memory_mb'] / 1024:.0f} GiB"
        yield f"  {_YES} {gpu['name']}, {memory}, compute capability {gpu['compute_capability']}"
    if not machine["gpus"]:
        yield "  no CUDA device: models run on the CPU"
    yield "[bold]Versions[/]"
    yield "  " + ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    yield "[bold]Engines[/]"
    yield from _engine_lines(found["engines"])
    yield "[bold]Built-in models[/]"
    for name, present in found["models"].items():
        yield f"  {_YES} {name}" if present else f"  {_NO} {name}: its weights are not installed"
    yield from _hub_lines(found["hub"])
    yield "[bold]Plugins[/]"
    for name in found["plugins"]["loaded"]:
        yield f"  {_YES} {name}"
    for failure in found["plugins"]["failures"]:
        yield f"  {_NO} {_plain(failure)}"


def _engine_lines(engines: list[dict[str, Any]]) -> Iterator[str]:
    for engine in engines:
        version = f" ({engine['version']})" if engine["version"] else ""
        if engine["usable"]:
            yield f"  {_YES} {engine['name']}{version}"
            continue
        yield f"  {_NO} {engine['name']}{version}: {_plain(engine['problem'])}"
        if engine["install"]:
            yield f"      [dim]{_plain(engine['install'])}[/]"


def _hub_lines(hub: dict[str, Any]) -> Iterator[str]:
    yield "[bold]Model hub[/]"
    yield f"  {'offline: only what is in the cache is used' if hub['offline'] else 'online'}"
    yield f"  cache {_plain(hub['cache'])}"
    for name in ("HF_HOME", "HF_HUB_OFFLINE"):
        if hub[name] is not None:
            yield f"  {name}={_plain(hub[name])}"


def _plain(text: str) -> str:
    """Keep square brackets in foreign text from being read as markup."""
    from rich.markup import escape

    return escape(text)
