"""Every preset on PyTorch and on ONNX Runtime, prompt by prompt: the same tokens?

Usage: python tests/benchmarks/same_tokens.py [--prompts 50] [--gen-length 32] [--preset NAME]...
           [--model builtin/verifier] [--results docs/reference/same-tokens.jsonl]

Decodes problems of the built-in tasks in batches of eight.  A preset of one model decodes with
`--model`, one of several with its own.  Every preset adds a line to the results: prompts with equal
tokens, how the first difference came about, or why a compiled engine refuses the preset.  Presets
that are in the results already are not run again, so that a run can be stopped and taken up.
Exits with 1 if a prompt differs by more than rounding.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import click
import torch

from dlmkit.accounts.records import StepRecord
from dlmkit.engine import find_engine
from dlmkit.errors import DlmkitError
from dlmkit.generation import Decode, Runner
from dlmkit.plugins import get_plugins
from dlmkit.spec import Document, SpecError, load_spec

ROWS = 8
ENGINES = ("torch", "onnxruntime")


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


def short(preset: str, gen_length: int) -> Document:
    """The preset over fewer tokens, or over its own where those do not fit its blocks."""
    try:
        return load_spec(preset, [f"gen_length={gen_length}"])
    except SpecError:
        return load_spec(preset)


def on(engine: str, document: Document, model: str) -> Runner:
    """The document with its models on an engine, in float32 on the processor."""
    refs = {
        name: ref
        if ref.derive
        else attrs.evolve(
            ref,
            repo=model if len(document.models) == 1 else ref.repo,
            engine=find_engine(engine),
            device="cpu",
        )
        for name, ref in document.models.items()
    }
    return Runner.load(attrs.evolve(document, models=refs))


def compare(document: Document, model: str, prompts: Sequence[str]) -> dict[str, Any]:
    """Count the prompts that decode to the same tokens, and look at the first that does not."""
    try:
        runners = [on(engine, document, model) for engine in ENGINES]
        found: dict[str, Any] = {"equal": 0}
        for first in range(0, len(prompts), ROWS):
            batch = prompts[first : first + ROWS]
            tokens = [run(start(runner, batch, first)) for runner in runners]
            same = [mine == other for mine, other in zip(*tokens, strict=True)]
            found["equal"] += sum(same)
            if not all(same) and "difference" not in found:
                found["difference"] = difference(runners, batch, first)
    except DlmkitError as error:
        return {"refused": str(error).splitlines()[0]}
    return found


def start(runner: Runner, prompts: Sequence[str], first: int) -> Decode:
    return runner.start(runner.encode(prompts), first_sample=first)


def run(decode: Decode) -> list[tuple[int, ...]]:
    """Tokens of each prompt."""
    for _ in decode:
        pass
    return [result.token_ids for result in decode.results()]


def difference(runners: Sequence[Runner], batch: Sequence[str], first: int) -> dict[str, Any]:
    """The first step whose canvas differs, and how close the choice was there.

    `error` is the largest difference of a confidence between the engines in that row, `gap` how
    far the confidences of what one of them chose and the other did not lie from the nearest that
    both treated the other way (absent: they chose the same).  A gap within twice the error is
    rounding.
    """
    for records in zip(*(start(runner, batch, first) for runner in runners), strict=False):
        after = [record.after_BN for record in records]
        if after[0].shape != after[1].shape or not torch.equal(*after):
            row = int((after[0] != after[1]).any(dim=1).int().argmax())
            close = closeness(records, row)
            return {"prompt": batch[row], "step": records[0].step, **close}
    return {"prompt": batch[0], "step": None}


def closeness(records: Sequence[StepRecord], row: int) -> dict[str, float]:
    """Error and gap of the confidences of a row."""
    mine, other = (record.confidence_BP[row].double() for record in records)
    both = mine.isfinite() & other.isfinite()
    error = float((mine - other)[both].abs().amax())
    chose, chose_too = (
        (record.before_BN != record.after_BN)[row].gather(0, record.positions_BP[row])
        for record in records
    )
    disputed, rest = (chose != chose_too) & both, (chose == chose_too) & both
    if not bool(disputed.any()):  # other tokens at the same positions: that is no tie of places
        return {"error": error}
    # Two choices of one token each dispute both positions: the gap is between the two.
    against = rest if int(disputed.sum()) == 1 else disputed
    values = mine[disputed][:, None] - mine[against][None, :]
    gaps = values.abs()[values != 0]
    return {"error": error, "gap": float(gaps.amin()) if gaps.numel() else 0.0}


def by_rounding(found: dict[str, Any]) -> bool:
    """Whether the first difference was closer than the engines can tell."""
    return found["difference"].get("gap", 1.0) <= 2 * found["difference"].get("error", 0.0)


def told(found: dict[str, Any]) -> str:
    """One line about a preset."""
    if "refused" in found:
        return f"refused: {found['refused']}"
    line = f"{found['equal']} of {found['prompts']}"
    if found["equal"] == found["prompts"]:
        return line
    return f"{line}, {'by rounding' if by_rounding(found) else 'DIFFERENT'}: {found['difference']}"


def missing(results: Path, asked: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What was asked and has no line in the results."""
    lines = results.read_text().splitlines() if results.exists() else []
    done = [json.loads(line) for line in lines]
    yield from (each for each in asked if not any(each.items() <= line.items() for line in done))


@click.command()
@click.option("--prompts", "count", default=50, show_default=True)
@click.option("--gen-length", default=32, show_default=True)
@click.option("--preset", "presets", multiple=True)
@click.option("--model", default="builtin/verifier", show_default=True)
@click.option(
    "--results", type=click.Path(path_type=Path), default="docs/reference/same-tokens.jsonl"
)
@click.option("--threads", default=1, show_default=True)
def main(
    count: int, gen_length: int, presets: tuple[str, ...], model: str, results: Path, threads: int
) -> None:
    """Compare, report, and exit with 1 if anything differs by more than rounding."""
    torch.set_num_threads(threads)
    facts = {"model": model, "gen_length": gen_length, "prompts": count}
    asked = ({"preset": name, **facts} for name in presets or sorted(get_plugins().presets))
    differs = False
    for each in missing(results, asked):
        found = each | compare(short(each["preset"], gen_length), model, problems(count))
        differs = differs or "DIFFERENT" in told(found)
        with results.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(f"{each['preset']:24} {told(found)}", flush=True)
    sys.exit(differs)


if __name__ == "__main__":
    main()
