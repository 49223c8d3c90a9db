"""Bars of the ONNX Runtime engine, side by side with PyTorch in one run.

Usage: python tests/benchmarks/engines.py [--threads 2] [--repeats 7] [--only step --only pack]

Networks have random weights in LLaDA's shape, except for the built-in verifier.  Prints one line
per bar and a JSON object; exits with 1 if a bar is missed.

* step: 60 M parameters, 32 fed positions over 256 cached ones, at least 1.8 times PyTorch
* decode: Fast-dLLM's dual cache on the built-in verifier, at least 1.8 times PyTorch
* loop: everything but ONNX Runtime's own run, at most 5 % of it and 1 ms for each step
* memory: at most weights, key/value store and 64 MB more than before loading
* in_place: a cache that is written in place, at most 1.2 times as slow as one that is read, in a
  step that stores what it computes and in one that does not; the same bar for its memory
* pack: a vocabulary of 126464, the score pack at least 1.3 times as fast as returning logits
* export: peak memory grows with at most 1.3 times the weights, from 270 MB to 1.1 GB of them
* large: an export of more than 2 GB of weights, at most 1.3 times of them; 8 GB of memory do
* eight: the same of LLaDA's 8 billion parameters in bfloat16.  Takes 20 GB of memory and 50 of disk
  and some minutes, so that it runs only when it is named
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import attrs
import click
import torch
from onnxruntime import InferenceSession

from dlmkit.benchmarking.measure import PROMPTS
from dlmkit.canvas import Canvas
from dlmkit.engine import LoadedModel, LoadOptions
from dlmkit.generation import Runner
from dlmkit.host.hardware import describe_hardware, describe_versions
from dlmkit.key_values.store import Store
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.network import Network, NetworkInputs
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.spec import load_spec
from dlmkit_export.bundle.make import make_bundle
from dlmkit_export.bundle.options import IN_PLACE_OPSET, ExportOptions
from dlmkit_export.runtime.engine import OnnxRuntimeEngine

sys.path.insert(0, str(Path(__file__).parents[2]))  # for the neighbour below
from tests.benchmarks.random_model import write_random_model

BLOCK, CACHED = 32, 256
SIXTY = {"hidden": 512, "layers": 12, "ffn": 2048, "vocabulary": 8192}
WIDE = {"hidden": 256, "layers": 4, "ffn": 704, "vocabulary": 126_464}
EIGHT = {"hidden": 4096, "layers": 32, "ffn": 12_288, "vocabulary": 126_464, "head_dim": 128}
SHALLOW = ({"hidden": 1024, "ffn": 4096}, {"hidden": 2048, "ffn": 8192})
MEGABYTE = 2**20
SPIN = 0.1
"""Seconds after which idle threads have gone to sleep."""


@attrs.frozen
class Bar:
    """What was measured, what it has to be, and the numbers behind it."""

    name: str
    value: float
    bar: float
    at_least: bool
    behind: Mapping[str, float]

    @property
    def met(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar


@attrs.define
class Bench:
    """Networks made once, in a folder that goes away."""

    room: Path
    threads: int
    repeats: int

    def model(self, **sizes: int) -> tuple[Path, Path]:
        """A checkpoint of random weights and its bundle."""
        name = f"{sizes['hidden']}-{sizes['vocabulary']}"
        checkpoint, bundle = self.room / name, self.room / f"{name}-bundle"
        if not bundle.is_dir():
            write_random_model(checkpoint, **sizes)
            make_bundle(str(checkpoint), bundle, ExportOptions(), LoadOptions(dtype="float32"))
        return checkpoint, bundle

    def writing(self, checkpoint: Path) -> Path:
        """The bundle of a checkpoint whose cache is written in place."""
        bundle = self.room / f"{checkpoint.name}-in-place"
        if not bundle.is_dir():
            options = ExportOptions(opset=IN_PLACE_OPSET, cache_slots=CACHED + BLOCK)
            make_bundle(str(checkpoint), bundle, options, LoadOptions(dtype="float32"))
        return bundle

    def eager(self, reference: object) -> LoadedModel:
        return load_model(str(reference), device="cpu", dtype="float32")

    def compiled(self, reference: object) -> LoadedModel:
        engine = OnnxRuntimeEngine(threads=self.threads)
        return engine.load(str(reference), LoadOptions(device="cpu"))

    def seconds(self, **runs: Callable[[], object]) -> dict[str, float]:
        """Medians of several ways, one after the other in turn.

        Threads of the one spin for a while after their work; the other waits until they sleep.
        """
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(self.repeats + 2):
            for name, run in runs.items():
                sleep(SPIN)
                started = perf_counter()
                run()
                if repeat >= 2:
                    taken[name].append(perf_counter() - started)
        return {name: median(each) for name, each in taken.items()}


def step(bench: Bench) -> Iterator[Bar]:
    checkpoint, bundle = bench.model(**SIXTY)
    eager, compiled = bench.eager(checkpoint).network, bench.compiled(bundle).network
    inputs = block_pass(eager)
    found = bench.seconds(
        torch=lambda: eager.forward(inputs, Need()),
        onnxruntime=lambda: compiled.forward(inputs, Need()),
    )
    yield Bar("step: faster than PyTorch", found["torch"] / found["onnxruntime"], 1.8, True, found)


def block_pass(network: Network) -> NetworkInputs:
    """A block over a store, as the session asks for it."""
    info = network.info
    store = Store.allocate(info, 1, CACHED + BLOCK)
    store.room.keys_YBGCE.normal_(), store.room.values_YBGCE.normal_()
    every = torch.arange(BLOCK)[None]
    visible = torch.ones(1, 1, BLOCK, CACHED + BLOCK, dtype=torch.bool)
    visible[..., CACHED:] = False
    return NetworkInputs(
        ids_BQ=every + 5,
        positions_BQ=every + CACHED,
        want_BS=every,
        past=store.content,
        mask_past_B1QC=visible,
    )


def decode(bench: Bench) -> Iterator[Bar]:
    document = load_spec("fast-dllm-dual", ["gen_length=128"])
    models = {
        "torch": bench.eager("builtin/verifier"),
        "onnxruntime": bench.compiled("builtin/verifier"),
    }
    found = bench.seconds(**{name: decoder(document, each) for name, each in models.items()})
    ratio = found["torch"] / found["onnxruntime"]
    yield Bar("decode: faster than PyTorch", ratio, 1.8, True, found)


def decoder(document, model: LoadedModel) -> Callable[[], object]:
    """Decode some prompts, one at a time."""
    runner = Runner(document, {"main": model})
    prompts = runner.encode(list(PROMPTS))

    def run() -> None:
        for prompt in prompts:
            for _ in runner.start([prompt]):
                pass

    return run


def loop(bench: Bench) -> Iterator[Bar]:
    _, bundle = bench.model(**SIXTY)
    runner = Runner(
        load_spec("fast-dllm-dual", ["gen_length=64"]), {"main": bench.compiled(bundle)}
    )
    shares, milliseconds = [], []
    for _ in range(bench.repeats + 1):
        with timed_graphs() as taken:
            started = perf_counter()
            steps = sum(1 for _ in runner.start([[5] * 192]))
            wall = perf_counter() - started
        shares.append(wall / sum(taken) - 1)
        milliseconds.append(1000 * (wall - sum(taken)) / steps)
    behind = {"steps": steps, "graph_ms": 1000 * sum(taken) / steps}
    yield Bar("loop: share of the graph's time", median(shares[1:]), 0.05, False, behind)
    yield Bar("loop: ms for each step", median(milliseconds[1:]), 1.0, False, behind)


class timed_graphs:
    """Note how long ONNX Runtime takes for each run: binding counts as the loop's."""

    def __enter__(self) -> list[float]:
        self.run = run = InferenceSession.run_with_iobinding
        taken: list[float] = []

        def timed(*arguments):
            started = perf_counter()
            run(*arguments)
            taken.append(perf_counter() - started)

        InferenceSession.run_with_iobinding = timed
        return taken

    def __exit__(self, *_: object) -> None:
        InferenceSession.run_with_iobinding = self.run


def memory(bench: Bench) -> Iterator[Bar]:
    _, bundle = bench.model(**SIXTY)
    found = in_child(bench, "--decode", bundle)
    extra = found["peak_mb"] - found["weights_mb"] - found["store_mb"]
    yield Bar("memory: MB beyond weights and store", extra, 64.0, False, found)


def in_place(bench: Bench) -> Iterator[Bar]:
    checkpoint, bundle = bench.model(**SIXTY)
    writing = bench.writing(checkpoint)
    networks = {"read": bench.compiled(bundle).network, "written": bench.compiled(writing).network}
    for what, commit in (("storing", True), ("scratch", False)):
        steps = {name: block_step(each, commit=commit) for name, each in networks.items()}
        found = bench.seconds(**steps)
        ratio = found["written"] / found["read"]
        yield Bar(f"in_place: time of a {what} step", ratio, 1.2, False, found)
    del networks, steps
    found = in_child(bench, "--decode", writing)
    extra = found["peak_mb"] - found["weights_mb"] - found["store_mb"]
    yield Bar("in_place: MB beyond weights and store", extra, 64.0, False, found)


def block_step(network: Network, *, commit: bool) -> Callable[[], object]:
    """A pass of a session over the last block of a canvas, whose store is full."""
    session = Session(network)
    canvas = Canvas.create([[5] * CACHED], BLOCK, network.info.mask_id)
    tokens_BN, late_BN = canvas.tokens_BN, torch.arange(CACHED + BLOCK)[None] >= CACHED
    block_BP = torch.arange(CACHED, CACHED + BLOCK)[None]
    session.predict([tokens_BN], canvas, block_BP, Plan.full(tokens_BN, commit=True), Need())
    kept_BN = late_BN if commit else None
    plan = Plan.of(late_BN, cached_BN=~late_BN, commit_BN=kept_BN, width=BLOCK)
    return lambda: session.predict([tokens_BN], canvas, block_BP, plan, Need())


def in_child(bench: Bench, *arguments: object) -> dict[str, float]:
    """What a process of its own reports."""
    command = [sys.executable, __file__, "--threads", bench.threads, *arguments]
    done = subprocess.run([str(each) for each in command], check=True, capture_output=True)
    report: dict[str, float] = json.loads(done.stdout)
    return report


def decode_in_child(bundle: Path, threads: int) -> None:
    """Load and decode, and print what that took at most."""
    document = load_spec("fast-dllm-dual", ["gen_length=128"])
    decoder(document, load_model("builtin/drafter", device="cpu"))()  # loads libraries
    before = new_peak()
    model = OnnxRuntimeEngine(threads=threads).load(str(bundle), LoadOptions(device="cpu"))
    info = model.network.info
    for _ in Runner(document, {"main": model}).start([[5] * (CACHED - 128)]):
        pass
    weights = (bundle / "weights.bin").stat().st_size
    slots = info.cache_slots or CACHED + 1
    store = 2 * info.layers * info.kv_heads * info.head_dim * slots * info.dtype.itemsize
    found = {"peak_mb": (status("VmHWM") - before) / MEGABYTE}
    print(json.dumps(found | {"weights_mb": weights / MEGABYTE, "store_mb": store / MEGABYTE}))


def export(bench: Bench) -> Iterator[Bar]:
    behind: dict[str, float] = {}
    points = []
    for sizes in SHALLOW:
        checkpoint = bench.room / f"shallow-{sizes['hidden']}"
        write_random_model(checkpoint, layers=4, vocabulary=8192, **sizes)
        found = in_child(bench, "--export", checkpoint)
        points.append((found["weights_mb"], found["peak_mb"]))
        behind |= {f"{name} at {sizes['hidden']}": value for name, value in found.items()}
        shutil.rmtree(checkpoint)
    (small, low), (large, high) = points
    yield Bar(
        "export: peak for each MB of weights", (high - low) / (large - small), 1.3, False, behind
    )


def large(bench: Bench) -> Iterator[Bar]:
    """More than one ONNX file may hold."""
    yield peak_of(bench, "large", "float32", layers=9, vocabulary=8192, **SHALLOW[1])


def eight(bench: Bench) -> Iterator[Bar]:
    yield peak_of(bench, "eight", "bfloat16", dtype=torch.bfloat16, **EIGHT)


def peak_of(bench: Bench, name: str, exported: str, **sizes: Any) -> Bar:
    """What the export of one checkpoint takes at most, for each MB of its weights."""
    checkpoint = bench.room / name
    write_random_model(checkpoint, **sizes)
    found = in_child(bench, "--export", checkpoint, "--dtype", exported)
    shutil.rmtree(checkpoint)
    ratio = found["peak_mb"] / found["weights_mb"]
    return Bar(f"{name}: peak for each MB of weights", ratio, 1.3, False, found)


def export_in_child(checkpoint: Path, dtype: str) -> None:
    """Export, and print what that took at most, beside a first small export."""
    room, options = checkpoint.parent, LoadOptions(dtype=dtype)
    make_bundle("builtin/drafter", room / "warm-up", ExportOptions(), options)
    before = new_peak()
    make_bundle(str(checkpoint), room / "exported", ExportOptions(), options)
    found = {"peak_mb": (status("VmHWM") - before) / MEGABYTE}
    weights = (room / "exported/weights.bin").stat().st_size / MEGABYTE
    for each in ("warm-up", "exported"):
        shutil.rmtree(room / each)
    print(json.dumps(found | {"weights_mb": weights}))


def new_peak() -> int:
    """Bytes in use now; the peak is counted anew from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(field: str) -> int:
    """Bytes, from Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def pack(bench: Bench) -> Iterator[Bar]:
    _, bundle = bench.model(**WIDE)
    network = bench.compiled(bundle).network
    inputs = block_pass(network)
    need = Need(top=2, entropy=True)
    found = bench.seconds(
        logits=lambda: network.forward(inputs, attrs.evolve(need, logits=True)),
        pack=lambda: network.forward(inputs, need),
        logits_top1=lambda: network.forward(inputs, Need(logits=True)),
        pack_top1=lambda: network.forward(inputs, Need()),
    )
    yield Bar("pack: faster than logits", found["logits"] / found["pack"], 1.3, True, found)
    ratio = found["logits_top1"] / found["pack_top1"]
    yield Bar("pack: the same for one candidate alone", ratio, 1.3, True, found)


USUAL = (step, decode, loop, memory, in_place, pack, export, large)
PARTS = {each.__name__: each for each in (*USUAL, eight)}


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option("--repeats", default=7, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)))
@click.option("--decode", "bundle", type=click.Path(path_type=Path), hidden=True)
@click.option("--export", "checkpoint", type=click.Path(path_type=Path), hidden=True)
@click.option("--dtype", default="float32", hidden=True)
def main(
    threads: int,
    repeats: int,
    only: tuple[str, ...],
    bundle: Path | None,
    checkpoint: Path | None,
    dtype: str,
) -> None:
    """Measure, report, and compare with the bars."""
    torch.set_num_threads(threads)
    if bundle is not None:
        decode_in_child(bundle, threads)
        return
    if checkpoint is not None:
        export_in_child(checkpoint, dtype)
        return
    found: list[Bar] = []
    with tempfile.TemporaryDirectory() as room:
        bench = Bench(Path(room), threads, repeats)
        for name in only or (each.__name__ for each in USUAL):
            for bar in PARTS[name](bench):
                sign = ("ok  " if bar.met else "MISS") + (" >=" if bar.at_least else " <=")
                print(f"{bar.name:40} {bar.value:8.3f} {sign} {bar.bar:g}", file=sys.stderr)
                found.append(bar)
    report = {"bars": [attrs.asdict(bar) | {"met": bar.met} for bar in found], "threads": threads}
    print(json.dumps(report | {"hardware": describe_hardware(), "versions": describe_versions()}))
    sys.exit(not all(bar.met for bar in found))


if __name__ == "__main__":
    main()
