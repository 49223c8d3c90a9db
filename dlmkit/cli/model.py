"""`dlmkit model`: look into checkpoints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dlmkit.errors import ModelError, RequestError

if TYPE_CHECKING:
    from rich.table import Table

    from dlmkit.models.family import ModelFamily
    from dlmkit.spec import ModelRef

__all__ = ["command"]


@click.group("model")
def command() -> None:
    """Look into checkpoints."""


@command.command("inspect")
@click.argument("model")
@click.option("--family", metavar="NAME", help="Read it as this family, whatever its config says.")
@click.option("--mask-id", type=click.IntRange(0), help="The mask token, whatever the files say.")
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@click.option(
    "--pipeline",
    "-p",
    metavar="NAME|FILE",
    help="MODEL is the name of a model in this preset or spec, which says how to read it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def inspect(
    model: str,
    *,
    family: str | None,
    mask_id: int | None,
    revision: str | None,
    pipeline: str | None,
    as_json: bool,
) -> None:
    """Say what MODEL is: a built-in model, a folder or a hub id.  Reads no weights."""
    from dlmkit.engine import LoadOptions
    from dlmkit.models.inspection import inspect_checkpoint
    from dlmkit.spec import ModelRef

    if pipeline is None:
        known = _family(family) if family else None
        source = ref = ModelRef(repo=model, family=known, mask_id=mask_id, revision=revision)
    else:
        source, ref = _in_spec(pipeline, model)
    options = LoadOptions(
        family=source.family,
        mask_id=source.mask_id,
        rope=source.rope,
        revision=source.revision,
        local_files_only=source.local_files_only,
    )
    facts = inspect_checkpoint(source.repo or "", options, ref.derive)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _print(facts)
    if facts["problem"]:
        raise ModelError("this checkpoint cannot be loaded: " + facts["problem"])


def _in_spec(pipeline: str, name: str) -> tuple[ModelRef, ModelRef]:
    """Return the model of a spec whose files are read, and the one that is asked about."""
    from dlmkit.spec import load_spec

    models = load_spec(pipeline).models
    if name not in models:
        raise RequestError(
            f"{pipeline} has no model called {name!r}", hint=f"its models are: {', '.join(models)}"
        )
    ref = models[name]
    return (models[ref.derive.source] if ref.derive else ref), ref


def _family(name: str) -> ModelFamily:
    """Return the registered family of that name, with its default options."""
    from dlmkit.models.family import ModelFamily
    from dlmkit.plugins import get_plugins

    registry = get_plugins().registry
    found: Any = registry.find(ModelFamily.role, name)
    if found is None:
        known = ", ".join(sorted(registry.of_role(ModelFamily.role)))
        raise RequestError(f"no family is called {name!r}", hint=f"known: {known}")
    family: ModelFamily = found()
    return family


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value, why in _lines(facts):
        _add(table, label, value, why)
    Console().print(table)


def _add(table: Table, label: str, value: str, why: str | None) -> None:
    from rich.markup import escape

    table.add_row(label, escape(value) + (f"  [dim]({escape(why)})[/dim]" if why else ""))


def _lines(facts: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Label, value, and where the value comes from."""
    network, weights, tokenizer = facts["network"], facts["weights"], facts["tokenizer"]
    shift = "row i-1 predicts token i" if facts["logit_shift"] else "row i predicts token i"
    kv_bytes, limit = facts["kv_bytes_per_token"], facts["context_limit"]
    used, total = facts["parameters_used_per_token"], facts["parameters"]
    dtype = weights["dtype"]
    fits = "do not fit the config" if facts["problem"] else "fit the config"
    return [
        ("family", facts["family"]["name"], facts["family"]["why"]),
        ("architecture", facts["architecture"], None),
        ("attention", network["attention"], shift),
        ("network", _sizes(network), f"head {network['head']}"),
        ("parameters", f"{total:,}", f"{used:,} used per token" if used != total else None),
        ("weights", f"{_size(weights['bytes'])} of {dtype} in {weights['files']} file(s)", fits),
        ("keys and values", f"{kv_bytes:,} bytes per token", f"as {dtype}"),
        ("context limit", f"{limit:,} tokens", f"{_size(limit * kv_bytes)} of keys and values"),
        *(
            (name.replace("_", " "), _ids(each["value"]), each["from"])
            for name, each in facts["special_ids"].items()
        ),
        *_derived_lines(facts["derived"]),
        ("tokenizer", f"{tokenizer['tokens']:,} tokens" if tokenizer else "none", None),
        ("chat template", (tokenizer or {}).get("chat_template") or "none", None),
    ]


def _derived_lines(derived: dict[str, Any] | None) -> list[tuple[str, str, str | None]]:
    if derived is None:
        return []
    sizes = f"{derived['layers']} layers, {derived['parameters']:,} parameters"
    memory = f"{_size(derived['extra_bytes'])} of memory beside its source"
    return [("derived", f"{derived['from']} {derived['text']}", f"{sizes}, {memory}")]


def _sizes(network: dict[str, Any]) -> str:
    text = (
        f"{network['layers']} layers, hidden {network['hidden']}, {network['heads']} heads "
        f"({network['kv_heads']} for keys and values) of {network['head_dim']}, "
        f"{network['vocabulary_rows']} vocabulary rows"
    )
    if "experts" not in network:
        return text
    return f"{text}, {network['experts_per_token']} of {network['experts']} experts per token"


def _ids(value: int | list[int] | None) -> str:
    listed = value if isinstance(value, list) else [] if value is None else [value]
    return ", ".join(map(str, listed)) or "none"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
