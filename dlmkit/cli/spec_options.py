"""The options that say what is decoded with what, shared by `generate` and `bench`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
import click

from dlmkit.defaults import DEFAULT_PIPELINE, SINGLE_PIPELINE
from dlmkit.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dlmkit.spec import Document

__all__ = ["document_from", "spec_options"]

_NAMED = re.compile(r"([a-z][a-z0-9_-]*)=(.+)", re.DOTALL)

_OPTIONS = (
    click.option(
        "--pipeline",
        "-p",
        metavar="NAME|FILE",
        help="A preset (`dlmkit ls presets` lists them) or a spec file.  "
        f"[default: {DEFAULT_PIPELINE}; {SINGLE_PIPELINE} for a --model without NAME]",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="PATH=VALUE",
        help="Change the spec, for example gen_length=64 or pipeline.transfer.steps_per_block=8.",
    ),
    click.option(
        "--model",
        "-m",
        "models",
        multiple=True,
        metavar="[NAME=]MODEL",
        help="A built-in model, a folder or a hub id; NAME is the spec's name for it.",
    ),
    click.option(
        "--engine",
        metavar="ENGINE",
        help="What runs the networks: torch, or one from a plugin; its options need --set.",
    ),
    click.option("--device", metavar="DEVICE", help="cpu, cuda or cuda:N; else the fastest."),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Number format of the weights; else the one that suits the device.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed."
    ),
)


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options to a command."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def document_from(
    pipeline: str | None,
    overrides: Sequence[str],
    models: Sequence[str],
    *,
    engine: str | None,
    device: str | None,
    dtype: str | None,
) -> Document:
    """Load the spec that the options describe.

    Raises:
        SpecError, RequestError: with everything that is wrong.
        EngineError: no engine has that name.
    """
    from dlmkit.engine import find_engine
    from dlmkit.spec import load_spec

    pipeline = pipeline or _usual(models)
    document = load_spec(pipeline, overrides)
    chosen = _chosen(models, document)
    if chosen:
        replaced = [f"models.{name}={json.dumps(repo)}" for name, repo in chosen.items()]
        document = load_spec(pipeline, [*replaced, *overrides])
    runs_on = None if engine is None else find_engine(engine)
    wanted = {"engine": runs_on, "device": device, "dtype": dtype}
    changes: Any = {key: value for key, value in wanted.items() if value is not None}
    refs = {
        name: ref if ref.derive else attrs.evolve(ref, **changes)
        for name, ref in document.models.items()
    }
    return attrs.evolve(document, models=refs)


def _usual(models: Sequence[str]) -> str:
    """The pipeline where none is named."""
    single = any(_NAMED.fullmatch(model) is None for model in models)
    return SINGLE_PIPELINE if single else DEFAULT_PIPELINE


def _chosen(models: Sequence[str], document: Document) -> Mapping[str, str]:
    """Read `[NAME=]MODEL` options; without a name the spec's only model, or `main`, is meant."""
    names = list(document.models)
    chosen = {}
    for text in models:
        found = _NAMED.fullmatch(text)
        name, repo = found.groups() if found else (_main(names), text)
        if name not in names:
            raise RequestError(
                f"--model {text}: the spec has no model called {name!r}",
                hint=f"its models are: {', '.join(names)}",
            )
        chosen[name] = repo
    return chosen


def _main(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if "main" in names:
        return "main"
    raise RequestError(
        f"the spec has several models ({', '.join(names)}), and --model does not say which",
        hint=f"name it: --model {names[0]}=MODEL",
    )
