"""Measure every preset on the built-in verifier: `python docs/measure_methods.py`.

Writes docs/reference/methods.json after each preset; a second run goes on where the first was
stopped, and measures again what has changed since.  `python docs/write_methods.py` then writes
the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import click
import torch
from methods_data import DATA, Entry, Measurements, TaskResult, read, write
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dlmkit import Runner, load_spec
from dlmkit.builtin import checkpoint_path
from dlmkit.builtin.accuracy import held_out
from dlmkit.builtin.evaluate import SEED
from dlmkit.builtin.tasks import MASK, TASKS, Example
from dlmkit.component import Component, options_of
from dlmkit.errors import DlmkitError
from dlmkit.plugins import get_plugins
from dlmkit.spec import Document
from dlmkit.spec.recipe import join, recipe_of

GEN_LENGTH = 32
"""Enough for every answer; presets are written for more, so their numbers are cut alike."""

SCALED = {"length", "reach", "start", "steps", "steps_per_block"}
"""Options that count positions or steps; they are divided like the length."""

LEAST = 4
BATCH = 25

CHANGED = {
    "prophet": ["pipeline.exit[0].start=27", "pipeline.exit[0].length=5"],
    "spiffy": ["pipeline.schedule.steps=8"],
}
"""Where dividing would say something else: the answer span is the last five positions, and a graph
of states is as deep as it was counted."""

CACHES = ("null", "prompt", "prefix", "dual", "dkv-decode")
RULES = ("{use: quota, steps_per_block: 8}", "{use: threshold, threshold: 0.9}", "local-leap")


def shortened(name: str) -> list[str]:
    """The changes that cut a preset to `GEN_LENGTH`."""
    document = load_spec(name)
    factor = max(1, document.gen_length // GEN_LENGTH)
    changes = [f"gen_length={GEN_LENGTH}"]
    for part in recipe_of(document.pipeline, "pipeline").walk():
        if isinstance(part.component, Component):
            changes += _scaled(part.component, part.path, factor)
    return changes + CHANGED.get(name, [])


def _scaled(component: Component, path: str, factor: int) -> Iterator[str]:
    for each in options_of(type(component)):
        value = getattr(component, each.name)
        if each.key in SCALED and type(value) is int and value > LEAST and factor > 1:
            yield f"{join(path, each.key)}={max(LEAST, value // factor)}"


def combinations() -> Iterator[tuple[str, list[str]]]:
    """Every cache with some transfer rules, over blocks of eight."""
    for cache in CACHES:
        for rule in RULES:
            names = (_name(rule), "no cache" if cache == "null" else cache)
            blocks = "pipeline.blocks={use: fixed, length: 8}"
            changes = [f"gen_length={GEN_LENGTH}", blocks, f"pipeline.cache={cache}"]
            yield " with ".join(names), [*changes, f"pipeline.transfer={rule}"]


def _name(rule: str) -> str:
    return rule.removeprefix("{use: ").partition(",")[0]


def measured(name: str, preset: str, changes: list[str], prompts: int) -> Entry:
    """Decode the prompts of every task with a changed preset."""
    try:
        document = load_spec(preset, changes)
        runner = Runner.load(document)
    except DlmkitError as error:
        return Entry(
            name=name, changes=tuple(changes), spec_id="", tasks={}, refused={"*": _first(error)}
        )
    tasks, refused = {}, {}
    for task in TASKS:
        try:
            tasks[task] = task_result(runner, held_out(task, prompts // len(TASKS), SEED))
        except DlmkitError as error:
            refused[task] = _first(error)
    if not tasks and len(set(refused.values())) == 1:
        refused = {"*": next(iter(refused.values()))}
    return Entry(
        name=name,
        changes=tuple(changes),
        spec_id=document.spec_id,
        tasks=tasks,
        refused=refused,
    )


def _first(error: DlmkitError) -> str:
    return str(error).splitlines()[0]


def task_result(runner: Runner, examples: list[Example]) -> TaskResult:
    """Decode one task's prompts in batches."""
    rows = [
        row
        for first in range(0, len(examples), BATCH)
        for row in decoded(runner, examples[first : first + BATCH], first)
    ]
    return TaskResult(
        solved="".join(str(int(row["solved"])) for row in rows),
        passes=tuple(row["passes"] for row in rows),
        **{what: sum(row[what] for row in rows) for what in ("home", "tokens", "fed", "revised")},
    )


def decoded(runner: Runner, examples: list[Example], first: int) -> list[dict[str, Any]]:
    """Decode some prompts in one batch; what came of each."""
    infill = examples[0].whole_text
    prompts = [example.prompt.replace(MASK, "<mask>") for example in examples]
    ids = runner.encode(prompts, "infill" if infill else "chat")
    decode, revised = runner.start(ids, infill=infill, first_sample=first), [0] * len(examples)
    for record in decode:
        for change in record.changes():
            before = int(record.before_BN[change.row, change.position])
            revised[change.row] += before != runner.mask_id
    return [
        {
            "solved": example.solved_by(result.text),
            "passes": sum(result.nfe.values()),
            "home": result.nfe[runner.document.pipeline.home()],
            "tokens": result.tokens,
            "fed": result.fed_positions,
            "revised": count,
        }
        for example, result, count in zip(examples, decode.results(), revised, strict=True)
    ]


def weights() -> str:
    """SHA-256 of the verifier's weights."""
    files = sorted(checkpoint_path("verifier").glob("*.safetensors"))
    return hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()


def known(prompts: int, verifier: str) -> dict[str, Entry]:
    """Earlier entries that still hold: of the same weights and prompts."""
    if not DATA.exists():
        return {}
    old = read()
    if (old.weights, old.seed, old.prompts) != (verifier, SEED, prompts):
        return {}
    return {each.name: each for each in (*old.presets, *old.combinations)}


def _current(entry: Entry | None, preset: str, changes: list[str], prompts: int) -> bool:
    """Whether an earlier entry is about the same spec and all prompts."""
    if entry is None or entry.refused or entry.changes != tuple(changes):
        return False
    if entry.prompts < prompts:
        return False
    document: Document = load_spec(preset, changes)
    return entry.spec_id == document.spec_id


@click.command()
@click.option("--prompts", type=click.IntRange(4), default=200, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--only", multiple=True, help="Measure these presets again, and no other.")
def main(prompts: int, threads: int, only: tuple[str, ...]) -> None:
    """Measure what is not known yet."""
    torch.set_num_threads(threads)
    presets = [(name, name, shortened(name)) for name in sorted(get_plugins().presets)]
    pairs = [(name, "llada", changes) for name, changes in combinations()]
    verifier = weights()
    old, found = known(prompts, verifier), {}
    columns = TextColumn("{task.description:30}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("measuring", total=len(presets) + len(pairs))
        for name, preset, changes in (*presets, *pairs):
            bar.update(task, description=name)
            entry = old.get(name)
            keep = name not in only if only and entry else _current(entry, preset, changes, prompts)
            found[name] = entry if keep else measured(name, preset, changes, prompts)
            names = [each[0] for each in presets], [each[0] for each in pairs]
            _save(verifier, prompts, old | found, *names)
            bar.advance(task)


def _save(
    verifier: str,
    prompts: int,
    found: dict[str, Entry | None],
    presets: list[str],
    pairs: list[str],
) -> None:
    def entries(names: list[str]) -> tuple[Entry, ...]:
        return tuple(entry for name in names if (entry := found.get(name)) is not None)

    write(
        Measurements(
            weights=verifier,
            seed=SEED,
            gen_length=GEN_LENGTH,
            prompts=prompts,
            presets=entries(presets),
            combinations=entries(pairs),
        )
    )


if __name__ == "__main__":
    main()
