"""`dlmkit export`: compile a checkpoint into a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from dlmkit.errors import RequestError
from dlmkit_export.contract import ABILITIES

__all__ = ["export"]

_EXAMPLES = """\b
Examples:
  dlmkit export --model builtin/verifier -o verifier-bundle
  dlmkit generate --engine onnxruntime --model verifier-bundle "2 4 6"
  dlmkit export --model GSAI-ML/LLaDA-8B-Instruct --dtype bfloat16 -o llada-bundle
  dlmkit export --model builtin/guide --skip-layers 1,2 -o drafter-bundle
"""


def _layers(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Read a list such as `1,2`."""
    parts = text.split(",") if text is not None else []
    layers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(set(layers)) < len(parts):
        raise RequestError(
            f"{parameter.opts[0]} {text}: not a list of layers, each once", hint="write 1,2"
        )
    return tuple(layers)


@click.command("export", epilog=_EXAMPLES)
@click.option("--model", "-m", required=True, help="A built-in model, a folder or a hub id.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="The bundle: a folder that does not exist yet.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Number format of the weights; float32 if not given, the one that CPUs run fast.",
)
@click.option(
    "--opset",
    type=click.Choice(["23", "20"]),
    help="23 if not given; 20 spells out attention and norms, for older run times.",
)
@click.option(
    "--in-place",
    "cache_slots",
    type=click.IntRange(1),
    metavar="SLOTS",
    help="Write into a cache of so many slots, one for each position of a text, instead of reading "
    "one: for caches that compute neighbouring positions; opset 24.",
)
@click.option(
    "--score-pack",
    "candidates",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="K",
    help="Most probable tokens that the graph returns with its statistics.",
)
@click.option(
    "--logits/--no-logits",
    default=True,
    show_default=True,
    help="Add a graph for strategies that read whole distributions.",
)
@click.option(
    "--with",
    "abilities",
    type=click.Choice(ABILITIES),
    multiple=True,
    help="Add graphs for strategies that need this ability; may be repeated.",
)
@click.option(
    "--buckets",
    multiple=True,
    metavar="NAME=SIZES",
    help="Sizes to run at, `fed`, `slots` or `wanted`; for example fed=32,64,256.",
)
@click.option(
    "--skip-layers",
    callback=_layers,
    metavar="N,N",
    help="Layers that are left out, counted from 0: `skip_layers` of a spec.",
)
@click.option(
    "--prompt-tokens",
    metavar="FILE",
    help="Embeddings that are fed and never written: `prompt_tokens` of a spec.",
)
@click.option(
    "--rope",
    metavar="NAME|MAPPING",
    help="Stretch the context, as in a spec: '{use: ntk, context: 1024}'.",
)
@click.option("--revision", help="Branch, tag or commit of a hub repository.")
@click.option("--mask-id", type=click.IntRange(0), help="The mask token, whatever the files say.")
def export(
    model: str,
    output: Path,
    *,
    dtype: str | None,
    opset: str | None,
    cache_slots: int | None,
    candidates: int,
    logits: bool,
    abilities: tuple[str, ...],
    buckets: tuple[str, ...],
    skip_layers: tuple[int, ...],
    prompt_tokens: str | None,
    rope: str | None,
    revision: str | None,
    mask_id: int | None,
) -> None:
    """Compile a model into a bundle that compiled engines run.

    The bundle is a folder with ONNX graphs, weights, tokenizer and manifest; the checkpoint is
    not needed any more.
    """
    from dlmkit.engine import LoadOptions
    from dlmkit.models.derivation import Derivation
    from dlmkit.models.reach import RopeScaling
    from dlmkit.spec.load import read_component
    from dlmkit_export.bundle.buckets import Buckets
    from dlmkit_export.bundle.make import make_bundle
    from dlmkit_export.bundle.options import IN_PLACE_OPSET, OPSETS, ExportOptions
    from dlmkit_export.progress import stage_bar

    options = ExportOptions(
        candidates=candidates,
        logits=logits,
        opset=int(opset or (OPSETS[0] if cache_slots is None else IN_PLACE_OPSET)),
        buckets=Buckets.parse(buckets),
        cache_slots=cache_slots,
        abilities=abilities,
    )
    load = LoadOptions(
        dtype=dtype or "auto",
        revision=revision,
        mask_id=mask_id,
        rope=None if rope is None else read_component(rope, RopeScaling, "--rope"),
    )
    changed = Derivation(source=model, skip_layers=skip_layers, prompt_tokens=prompt_tokens)
    with stage_bar(f"exporting {model}") as stage:
        manifest = make_bundle(
            model, output, options, load, stage, changed if changed.asked else None
        )
    size = sum(record.bytes for record in manifest.files.values())
    click.echo(f"wrote {output}: {len(manifest.files)} files, {size / 2**20:.1f} MiB", err=True)
    click.echo(f"try: dlmkit generate --engine onnxruntime --model {output}", err=True)
