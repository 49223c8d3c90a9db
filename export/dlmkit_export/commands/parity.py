"""`dlmkit parity`: compare a bundle with the network it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlmkit.errors import EngineError

if TYPE_CHECKING:
    from dlmkit_export.parity.certificate import Certificate

__all__ = ["certificate_lines", "parity"]

_PROMPTS = (
    "Tom has 12 apples. He buys 7 more and gives 5 to Anna. How many apples does Tom have now?",
    "sort: 7 3 9 1",
    "2 4 6 8 10",
    "Write one sentence about the sea.",
)
"""What is decoded where no prompt is given."""


@click.command("parity")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Choice(["torch"]),
    default="torch",
    show_default=True,
    help="The engine that is right by definition.",
)
@click.option("--model", "-m", help="The checkpoint, if not the one that the bundle names.")
@click.option(
    "--pipeline",
    "-p",
    default="fast-dllm-dual",
    show_default=True,
    help="What decodes; one that uses full and block passes tells most.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change the pipeline."
)
@click.option(
    "--file",
    "-f",
    type=click.Path(path_type=Path),
    help="Prompts: one on each line, or JSON Lines with `prompt`; a few of our own if not given.",
)
def parity(
    folder: Path,
    *,
    against: str,
    model: str | None,
    pipeline: str,
    overrides: tuple[str, ...],
    file: Path | None,
) -> None:
    """Compare the bundle FOLDER with PyTorch and write the result into it.

    Every call of a decode is put to both; then the bundle decodes alone.  `dlmkit bundle inspect`
    shows the result.
    """
    from dlmkit.cli.prompt_input import read_prompts
    from dlmkit.spec import load_spec
    from dlmkit_export.parity.measure import compare_bundle
    from dlmkit_export.progress import stage_bar

    prompts = list(_PROMPTS) if file is None else read_prompts((), file)
    document = load_spec(pipeline, overrides)
    with stage_bar(f"comparing {folder} with {against}") as stage:
        certificate = compare_bundle(
            folder,
            document,
            prompts,
            model=model,
            progress=lambda done, total: stage("decoding", done, total),
        )
    certificate.write(folder)
    for label, text in certificate_lines(certificate):
        click.echo(f"{label}: {text}")
    if certificate.verdict == "different":
        raise EngineError(
            f"{folder} decides differently than {against}, and not by rounding",
            hint="make the bundle again; if that does not help, report it with the bundle's "
            "manifest.json and parity.json",
        )


def certificate_lines(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """Label and value."""
    found = certificate
    yield "parity", f"{found.verdict} ({found.candidate} against {found.against})"
    yield "texts", f"{found.texts} of {found.prompts} the same with pipeline {found.pipeline}"
    same = found.decisions - found.differing
    yield "decisions", f"{same:,} of {found.decisions:,} the same, in {found.calls:,} calls"
    if found.first is not None:
        yield "first difference", f"call {found.first.call}, margin {found.first.margin:.2g} nats"
    yield "largest errors", ", ".join(f"{name} {value:.1e}" for name, value in found.errors.items())
