"""Every preset on PyTorch and on ONNX Runtime, prompt by prompt: the same tokens?

Usage: python tests/benchmarks/same_tokens.py [--prompts 50] [--gen-length 64] [--preset NAME]...

Decodes problems of the built-in tasks with the built-in verifier and drafter, in batches of
eight, and prints one line per preset and model: prompts with equal tokens, and why a preset was
left out where it is not for such a model or asks for what no graph has.  Exits with 1 if a
prompt differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from dlmkit.engine import LoadedModel, find_engine
from dlmkit.errors import DlmkitError
from dlmkit.generation import Runner
from dlmkit.models.loading import load_model
from dlmkit.plugins import get_plugins
from dlmkit.spec import load_spec

ROWS = 8


def problems(count: int) -> list[str]:
    """Word problems, lists and patterns, all different."""
    kinds = (
        "Tom has {a} apples. He buys {b} more. How many has he now?",
        "sort: {b} {a} {c} 1",
        "reverse: {a} {c} {b}",
        "A box holds {a} pens. How many pens do {c} boxes hold?",
        "{c} {b} {a}",
    )
    numbers = ({"a": 3 + n % 17, "b": 2 + n % 11, "c": 2 + n % 7} for n in range(count))
    return [kinds[n % len(kinds)].format(**each) for n, each in enumerate(numbers)]


def decoded(runner: Runner, prompts: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Tokens of each prompt."""
    for first in range(0, len(prompts), ROWS):
        decode = runner.start(runner.encode(prompts[first : first + ROWS]), first_sample=first)
        for _ in decode:
            pass
        yield from (result.token_ids for result in decode.results())


def compare(preset: str, gen_length: int, models: Sequence[LoadedModel], prompts: list[str]) -> str:
    """Say how many prompts decode to the same tokens."""
    try:
        document = load_spec(preset, [f"gen_length={gen_length}"])
        if len(document.models) > 1:
            return "left out: it has several models"
        runners = [Runner(document, dict.fromkeys(document.models, model)) for model in models]
        found = zip(*(decoded(runner, prompts) for runner in runners), strict=True)
        equal = sum(first == second for first, second in found)
    except DlmkitError as error:
        return f"left out: {str(error).splitlines()[0]}"
    return f"{equal} of {len(prompts)}" + ("" if equal == len(prompts) else " DIFFERENT")


@click.command()
@click.option("--prompts", "count", default=50, show_default=True)
@click.option("--gen-length", default=64, show_default=True)
@click.option("--preset", "presets", multiple=True)
def main(count: int, gen_length: int, presets: tuple[str, ...]) -> None:
    """Compare, report, and exit with 1 if anything differs."""
    lines = []
    for reference in ("builtin/verifier", "builtin/drafter"):
        engines = ("torch", "onnxruntime")
        models = [load_model(reference, engine=find_engine(each), device="cpu") for each in engines]
        for preset in presets or sorted(get_plugins().presets):
            lines.append(compare(preset, gen_length, models, problems(count)))
            print(f"{reference:18} {preset:24} {lines[-1]}", flush=True)
    sys.exit(any(line.endswith("DIFFERENT") for line in lines))


if __name__ == "__main__":
    main()
