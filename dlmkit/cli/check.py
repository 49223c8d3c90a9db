"""`dlmkit check`: report every problem of spec files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from dlmkit.errors import DlmkitError

if TYPE_CHECKING:
    from dlmkit.spec import Document, Problem

__all__ = ["command"]


@click.command("check")
@click.argument("specs", nargs=-1, required=True, metavar="FILE...")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value.")
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
@click.pass_context
def command(
    ctx: click.Context, specs: tuple[str, ...], *, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Check spec files (or presets) and report every problem.

    Exits with 0 when all can be used, else with 2.
    """
    results = [_check(spec, overrides) for spec in specs]
    if as_json:
        click.echo(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        for result in results:
            _print(result)
    ctx.exit(0 if all(result["ok"] for result in results) else 2)


def _check(spec: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    from dlmkit.spec import Problem, SpecError, load_spec

    try:
        document = load_spec(spec, overrides)
    except SpecError as error:
        return _result(spec, error.problems)
    except DlmkitError as error:
        return _result(spec, (Problem(None, str(error.args[0]), error.hint),))
    return _result(spec, document.warnings, document)


def _result(
    spec: str, problems: tuple[Problem, ...], document: Document | None = None
) -> dict[str, Any]:
    from dlmkit.spec.report import render

    return {
        "file": spec,
        "ok": document is not None,
        "spec_id": document and document.spec_id,
        "models": {name: ref.text for name, ref in document.models.items()} if document else {},
        "problems": [problem.as_json() | {"text": render(problem)} for problem in problems],
    }


def _print(result: dict[str, Any]) -> None:
    for problem in result["problems"]:
        click.echo(problem["text"], err=True)
    if result["ok"]:
        models = ", ".join(f"{name} = {text}" for name, text in result["models"].items())
        click.echo(f"{result['file']}: ok ({result['spec_id'][:12]}; {models})")
    else:
        count = len(result["problems"])
        click.echo(f"{result['file']}: {count} {'problem' if count == 1 else 'problems'}", err=True)
