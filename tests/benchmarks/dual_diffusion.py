"""DualDiffusion against its relatives: `python -m tests.benchmarks.dual_diffusion`.

Decodes held-out problems with the built-in drafter and verifier, and writes what came out to
`docs/reference/dual-diffusion.json`, the page and the pictures made of it.  What that file holds of
the same spec, weights and prompts is kept, and an interrupted run goes on where it stopped.  Exits
with 1 when a bar is missed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import attrs
import click
import torch
from rich.console import Console
from rich.progress import track

from dlmkit.builtin import checkpoint_path
from dlmkit.builtin.accuracy import Accuracy, held_out
from dlmkit.builtin.evaluate import SEED
from dlmkit.generation import Runner
from dlmkit.host.hardware import describe_hardware, describe_versions
from dlmkit.models.loading import load_model
from dlmkit.plugins import get_plugins
from dlmkit.profiling.costs import CostTable
from dlmkit.profiling.measure import measure_costs
from dlmkit.profiling.weighing import PassLog, Scales
from dlmkit.spec import Document, load_spec
from tests.benchmarks.dual_diffusion_page import bars, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dlmkit.accounts.results import Result
    from dlmkit.builtin.tasks import Example

TASKS = ("word problems", "lists")
LENGTHS = (1, 2, 4, 8, 16)
GEN_LENGTH = 32
BASELINE = "verifier alone"
HOME = "unit"
"""Stands for the verifier over one row of the canvas, the unit of weighted passes."""
OUT = Path(__file__).parents[2] / "docs/reference/dual-diffusion.json"
WORK = Path(tempfile.gettempdir()) / "dual-diffusion.jsonl"
RULES = {
    "lossless": "dual-diffusion-lossless",
    "fast": "dual-diffusion-fast",
    "paper: KL divergence": "dual-diffusion-paper",
    "paper: confidence": "dual-diffusion-paper-confidence",
    "paper: trust": "dual-diffusion-paper-trust",
}
"""Rules of verification by the presets that follow them."""
RELATIVES = {"Fast-dLLM": "fast-dllm", "dKV-Cache": "dkv-decode", "FreeDave": "free-dave"}
"""Presets that need no drafter, where they are installed."""


@attrs.frozen(kw_only=True)
class System:
    """Something to measure: a document, and where its numbers belong."""

    series: str
    document: Document
    draft_length: int | None = None
    sweep: bool = False


def systems() -> list[System]:
    """Everything that is compared, the baseline first."""
    size = f"gen_length={GEN_LENGTH}"
    lossless = load_spec("dual-diffusion-lossless", [size])
    alone: Any = lossless.pipeline
    found = [
        System(series=BASELINE, document=attrs.evolve(lossless, pipeline=alone.verifier)),
        System(
            series="drafter alone",
            document=attrs.evolve(lossless, pipeline=attrs.evolve(alone.verifier, model="drafter")),
        ),
    ]
    for series, preset in RELATIVES.items():
        if preset in get_plugins().presets:
            found.append(System(series=series, document=load_spec(preset, [size])))
    for series, preset in RULES.items():
        found.append(System(series=series, document=load_spec(preset, [size])))
        for length in LENGTHS:
            fixed = f"pipeline.schedule={{use: fixed, steps: {length}}}"
            document = load_spec(preset, [size, fixed])
            found.append(System(series=series, document=document, draft_length=length, sweep=True))
    return found


def weights_id() -> str:
    """A short hash of the weights that are measured."""
    digest = hashlib.sha256()
    for name in ("verifier", "drafter"):
        for file in sorted(checkpoint_path(name).glob("*.safetensors")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def measured_costs() -> dict[str, CostTable]:
    """Seconds of a pass of both networks."""
    return {
        name: measure_costs(
            load_model(f"builtin/{name}").network, (1, 2, 5, 9, 17), (8, 32, 64, 96)
        )
        for name in ("verifier", "drafter")
    }


@attrs.define
class Tally:
    """What came out of one system on one task, prompt by prompt."""

    answers: list[str] = attrs.field(factory=list)
    tokens: list[list[int]] = attrs.field(factory=list)
    verifier: list[int] = attrs.field(factory=list)
    drafter: list[int] = attrs.field(factory=list)
    weighted: list[float] = attrs.field(factory=list)
    proposed: int = 0
    accepted: int = 0

    def add(self, system: System, results: Sequence[Result], weighted: Sequence[float]) -> None:
        """Take note of a batch."""
        repos = {name: ref.repo for name, ref in system.document.models.items()}
        for result, weight in zip(results, weighted, strict=True):
            self.answers.append(result.text)
            self.tokens.append(list(result.token_ids))
            drafted = sum(n for name, n in result.nfe.items() if repos[name] == "builtin/drafter")
            self.drafter.append(drafted)
            self.verifier.append(sum(result.nfe.values()) - drafted)
            self.weighted.append(weight)
            if result.ledger is not None:
                self.proposed += result.ledger.proposed
                self.accepted += result.ledger.accepted


def decode(system: System, examples: Sequence[Example], costs: Any, batch: int) -> Tally:
    """Decode all prompts of a task in batches."""
    runner, tally = Runner.load(system.document), Tally()
    for first in range(0, len(examples), batch):
        part = examples[first : first + batch]
        ids = runner.encode([example.prompt for example in part], "chat")
        decoding, log = runner.start(ids, first_sample=first), PassLog()
        for record in decoding:
            log.add(record)
        tables = {name: costs[str(ref.repo)[8:]] for name, ref in system.document.models.items()}
        scales = Scales({**tables, HOME: costs["verifier"]}, HOME)
        width = decoding.canvas.tokens_BN.shape[1]
        tally.add(system, decoding.results(), log.weighted(scales, width))
    return tally


def row(system: System, task: str, tally: Tally, examples: Sequence[Example]) -> dict[str, Any]:
    """The numbers of one system on one task."""
    solved = Accuracy.of(examples, tally.answers)
    proposed = tally.proposed
    return {
        "series": system.series,
        "spec": system.document.spec_id,
        "draft_length": system.draft_length,
        "sweep": system.sweep,
        "task": task,
        "prompts": len(examples),
        "solved": solved.solved,
        "interval": [round(bound, 4) for bound in solved.interval],
        "verifier": _mean(tally.verifier),
        "drafter": _mean(tally.drafter),
        "total": _mean([a + b for a, b in zip(tally.verifier, tally.drafter, strict=True)]),
        "weighted": _mean(tally.weighted),
        "acceptance": round(tally.accepted / proposed, 4) if proposed else None,
    }


def _mean(values: Sequence[float]) -> list[float]:
    """Mean over the prompts, and half of its 95 % interval."""
    half = 1.96 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return [round(fmean(values), 3), round(half, 3)]


class Work:
    """Finished runs, one JSON object for each line of a file."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        found = [json.loads(line) for line in lines]
        self._done = {each["key"]: each for each in found if each["identity"] == identity}

    def get(self, key: str) -> dict[str, Any] | None:
        """What was found earlier for the same weights, or None."""
        return self._done.get(key)

    def put(self, key: str, found: dict[str, Any]) -> dict[str, Any]:
        """Keep a finished run."""
        entry = {"key": key, "identity": self._identity, **found}
        self._done[key] = entry
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        return entry


def runs(prompts: int, sweep: int) -> Iterator[tuple[System, str, int]]:
    """What is decoded: presets as they are, then draft lengths; the baseline of a task first."""
    found = systems()
    for sweeps in (False, True) if sweep else (False,):
        for task in TASKS:
            for system in found:
                if system.sweep == sweeps:
                    yield system, task, min(prompts, sweep) if sweeps else prompts


class Earlier:
    """The rows of a report, if it is about the same weights and prompts."""

    def __init__(self, path: Path, weights: str) -> None:
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        about = (found.get("weights"), found.get("gen_length"), found.get("seed"))
        self.report = found if about == (weights, GEN_LENGTH, SEED) else {}

    def row(self, system: System, task: str, count: int) -> dict[str, Any] | None:
        """What was found of this very spec on at least as many prompts, or None."""
        wanted = (system.document.spec_id, system.series, task)
        for each in self.report.get("rows", ()):
            known = (each["spec"], each["series"], each["task"])
            if known == wanted and each["prompts"] >= count:
                found: dict[str, Any] = each
                return found
        return None


@attrs.frozen
class Bench:
    """Measures what nobody has measured yet."""

    earlier: Earlier
    done: Work
    tables: dict[str, CostTable]
    batch: int

    def row(self, system: System, task: str, count: int) -> dict[str, Any]:
        """The numbers of a system on a task, with the outputs that are the baseline's own."""
        # A preset may be one of its own sweep: the same run, told twice.
        place = {"draft_length": system.draft_length, "sweep": system.sweep}
        known = self.earlier.row(system, task, count)
        if known is not None:
            return {**known, **place}
        found, baseline = self._run(system, task, count), self._run(systems()[0], task, count)
        same = sum(a == b for a, b in zip(found["tokens"], baseline["tokens"], strict=True))
        return {**found["row"], **place, "same": same}

    def _run(self, system: System, task: str, count: int) -> dict[str, Any]:
        key = f"{system.document.spec_id} {system.series} {task} {count}"
        found = self.done.get(key)
        if found is None:
            examples = held_out(task, count, SEED)
            tally = decode(system, examples, self.tables, self.batch)
            numbers = row(system, task, tally, examples)
            found = self.done.put(key, {"row": numbers, "tokens": tally.tokens})
        return found


@click.command()
@click.option("--prompts", default=200, show_default=True, help="Prompts of each task.")
@click.option(
    "--sweep", default=200, show_default=True, help="Of these, for each draft length; 0: skip."
)
@click.option("--batch", default=25, show_default=True, help="Prompts decoded together.")
@click.option("--threads", type=int, help="CPU threads of PyTorch.")
@click.option("--anew", is_flag=True, help="Measure everything again, passes and their prices.")
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
def main(**options: Any) -> None:
    """Measure everything, or what is missing, and write the page."""
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    out, weights = options["out"], weights_id()
    earlier = Earlier(Path() if options["anew"] else out, weights)
    done = Work(options["work"], f"{weights} {GEN_LENGTH}")
    origin = earlier.report or done.get("origin") or done.put("origin", _origin())
    tables = {
        name: CostTable({(rows, fed): time for rows, fed, time in each})
        for name, each in origin["costs"].items()
    }
    bench = Bench(earlier, done, tables, options["batch"])
    console = Console(stderr=True)
    todo = track(
        list(runs(options["prompts"], options["sweep"])),
        "decoding",
        console=console,
        disable=not console.is_terminal,
    )
    report = {
        "weights": weights,
        "gen_length": GEN_LENGTH,
        "seed": SEED,
        **{name: origin[name] for name in ("hardware", "versions", "costs")},
        "rows": [bench.row(*each) for each in todo],
    }
    out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    write(report, out.parent)
    for line, met in bars(report):
        print("met   " if met else "MISSED", line)
    sys.exit(not all(met for _, met in bars(report)))


def _origin() -> dict[str, Any]:
    """What prices were measured, and on what."""
    return {
        "hardware": describe_hardware(),
        "versions": describe_versions(),
        "costs": _plain(measured_costs()),
    }


def _plain(tables: dict[str, CostTable]) -> dict[str, Any]:
    return {
        name: [[rows, fed, time] for (rows, fed), time in sorted(table.seconds.items())]
        for name, table in tables.items()
    }


if __name__ == "__main__":
    main()
