"""Measure what each cache policy feeds, how long its steps take, and what its store weighs.

Usage: python tests/benchmarks/cache.py [--builtin] [--canvas 256 --canvas 512] [--rows FILE]
       [--table FILE] [--clock processor]

Runs every policy on a LLaDA-shaped network of 60 million random weights, or on the built-in
verifier, whose rotary embedding is stretched beyond its context; attention is that which the
policy is for.  After each cached step the network is called once more with the inputs of that
step, taking note of attention where the policy asks for it: the *bare pass*.  Writes a line of
JSON for each canvas and policy to `--rows`, and goes on from there where it was stopped; `--table`
writes the same in Markdown.  Exits with 1 if a bar is missed:

* a cached step within 1.3 times its bare pass (median of the steps)
* dual and block-causal at least 8 times faster than no cache at canvas 1024 and above, blocks of 32
* the store within 5 % of layers x 2 x heads x positions x width, plus layers x 2 x positions x
  hidden where a policy keeps what layers gave
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, median
from time import perf_counter, process_time

import attrs
import click
import torch
from cache_policies import POLICIES, Policy
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.models.arch import ArchSpec, RotarySpec
from dlmkit.models.decoder import Decoder
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.network import NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.passes.session import Session
from dlmkit_strategies.rope import NtkRope

ROOM, SPEED_UP, STORE = 1.3, 8.0, 1.05
HIDDEN, HEADS, LAYERS, VOCABULARY = 512, 8, 15, 8192
BLOCK = 32
CLOCKS = {"wall": perf_counter, "processor": process_time}


@attrs.frozen(kw_only=True)
class Row:
    """One policy on one canvas; seconds are medians, `fed` the mean, all of cached steps.

    `over` is the median of each step's seconds over those of its own bare pass.
    """

    network: str
    canvas: int
    policy: str
    fed: float
    seconds: float
    bare_seconds: float
    over: float
    whole_seconds: float | None
    store_bytes: int
    store_formula: int


@attrs.define
class Noted:
    """A network that keeps the inputs of its last call."""

    network: TorchNetwork
    clock: Callable[[], float]
    last: tuple[NetworkInputs, Need, int] | None = None

    @property
    def info(self) -> NetworkInfo:
        """Facts about the network."""
        return self.network.info

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run the call, and keep what it was given."""
        output = self.network.forward(inputs, need)
        self.last = inputs, need, output.computed or inputs.ids_BQ.shape[1]
        return output

    def bare_seconds(self, features: object) -> float:
        """Run the last call again, on the features that it was given."""
        assert self.last is not None
        inputs, need, _ = self.last
        inputs = attrs.evolve(inputs, features=features)
        started = self.clock()
        self.network.forward(inputs, need)
        return self.clock() - started


@attrs.frozen
class Step:
    """One step: positions computed, seconds, and those of its bare pass (None: a whole pass)."""

    fed: int
    seconds: float
    bare_seconds: float | None


def sixty_million(canvas: int) -> TorchNetwork:
    """A LLaDA-shaped network of that size with random weights."""
    arch = ArchSpec(
        vocab_rows=VOCABULARY,
        hidden=HIDDEN,
        layers=LAYERS,
        heads=HEADS,
        kv_heads=HEADS,
        head_dim=HIDDEN // HEADS,
        ffn=3 * HIDDEN,
        rotary=RotarySpec(dim=HIDDEN // HEADS),
        max_positions=canvas,
    )
    torch.manual_seed(0)
    decoder = Decoder(arch).requires_grad_(False)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    info = NetworkInfo(
        vocab_size=VOCABULARY,
        mask_id=VOCABULARY - 1,
        eos_ids=(VOCABULARY - 2,),
        max_positions=canvas,
        attention=arch.attention,
        layers=LAYERS,
        kv_heads=HEADS,
        head_dim=HIDDEN // HEADS,
        dtype=torch.float32,
        device=torch.device("cpu"),
        parameters=sum(parameter.numel() for parameter in decoder.parameters()),
    )
    return TorchNetwork(decoder.eval(), info)


def verifier(canvas: int) -> TorchNetwork:
    """The built-in verifier, stretched where the canvas is longer than its context."""
    rope = NtkRope(context=max(canvas, 512))
    network = load_model("builtin/verifier", device="cpu", dtype="float32", rope=rope).network
    assert isinstance(network, TorchNetwork)
    return network


def network_of(canvas: int, policy: Policy, clock: str, *, builtin: bool) -> Noted:
    """A network whose queries see what the policy is for."""
    network = verifier(canvas) if builtin else sixty_million(canvas)
    network.info = attrs.evolve(network.info, attention=policy.attention)
    return Noted(network, CLOCKS[clock])


def steps_of(policy: Policy, network: Noted, canvas: int, count: int) -> tuple[list[Step], Session]:
    """The steps of two blocks in the middle of a canvas; the first, which warms up, is left out."""
    mask = network.info.mask_id or 0
    tokens = torch.randint(0, network.info.vocab_size, (canvas // 2,))
    prompt = tokens.masked_fill(tokens == mask, mask ^ 1).tolist()
    made = Canvas.create([prompt], canvas - len(prompt), mask)
    session = Session(network)
    steps = policy.pipeline(BLOCK, count).steps(Context({"main": session}), made)
    with torch.inference_mode():
        found = [one_step(steps, network, session, canvas) for _ in range(2 * count)]
    return found[1:], session


def one_step(steps: Iterator[object], network: Noted, session: Session, canvas: int) -> Step:
    """Take a step, then its bare pass."""
    kept = session.features and attrs.evolve(
        session.features,
        **{name: value.clone() for name, value in attrs.asdict(session.features).items()},
    )
    started = network.clock()
    next(steps)
    seconds = network.clock() - started
    assert network.last is not None
    fed = network.last[2]
    return Step(fed, seconds, network.bare_seconds(kept) if fed < canvas else None)


def measure(name: str, canvas: int, count: int, clock: str, *, builtin: bool) -> Row:
    """One policy on one canvas."""
    policy = POLICIES[name]
    network = network_of(canvas, policy, clock, builtin=builtin)
    steps, session = steps_of(policy, network, canvas, count)
    cached = [step for step in steps if step.bare_seconds is not None]
    whole = [step.seconds for step in steps if step.bare_seconds is None]
    if not cached:  # no cache: every pass is whole, and the last one is run again
        cached = [Step(steps[-1].fed, median(whole), network.bare_seconds(None))]
    bare = [step.bare_seconds for step in cached if step.bare_seconds is not None]
    return Row(
        network="verifier" if builtin else "random",
        canvas=canvas,
        policy=name,
        fed=fmean(step.fed for step in cached),
        seconds=median(step.seconds for step in cached),
        bare_seconds=median(bare),
        over=median(step.seconds / each for step, each in zip(cached, bare, strict=True)),
        whole_seconds=median(whole) if whole else None,
        store_bytes=bytes_of(session),
        store_formula=formula(network.network, session, canvas),
    )


def bytes_of(session: Session) -> int:
    """What the store occupies, and what layers gave."""
    held: list[Tensor] = []
    if session.store is not None:
        held += [session.store.room.keys_YBGCE, session.store.room.values_YBGCE]
    if session.features is not None:
        held += attrs.asdict(session.features).values()
    return sum(tensor.untyped_storage().nbytes() for tensor in held)


def formula(network: TorchNetwork, session: Session, canvas: int) -> int:
    """Layers x positions x (2 x heads x width, and 2 x hidden for what layers gave), in bytes."""
    info, width = network.info, 0
    if session.store is not None or session.features is not None:
        width += 2 * info.kv_heads * info.head_dim
    if session.features is not None:
        width += 2 * network.decoder.arch.hidden
    return info.layers * canvas * width * info.dtype.itemsize


def missed(rows: list[Row]) -> list[str]:
    """The bars that were not reached."""
    found = []
    plain = {(row.network, row.canvas): row.seconds for row in rows if row.policy == "none"}
    for row in rows:
        label = f"{row.policy} at {row.canvas}"
        if row.over > ROOM:
            found.append(f"{label}: {row.over:.2f} times the bare pass")
        if row.store_bytes > STORE * row.store_formula:
            found.append(f"{label}: the store has {row.store_bytes}, not {row.store_formula} bytes")
        if row.policy in ("dual", "block-causal") and row.canvas >= 1024:
            gain = plain.get((row.network, row.canvas), float("inf")) / row.seconds
            if gain < SPEED_UP:
                found.append(f"{label}: only {gain:.1f} times faster than no cache")
    return found


def table(rows: list[Row]) -> str:
    """The same numbers in Markdown."""
    plain = {(row.network, row.canvas): row.seconds for row in rows if row.policy == "none"}
    lines = [
        "| Canvas | Policy | Fed positions | ms a step | Against a bare pass | Against no cache |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        base = plain.get((row.network, row.canvas))
        gain = f"{base / row.seconds:.1f} x faster" if base else "–"
        lines.append(
            f"| {row.canvas} | `{row.policy}` | {row.fed:.0f} | {1000 * row.seconds:.0f} | "
            f"{row.over:.2f} x | {gain} |"
        )
    return "\n".join(lines) + "\n"


def known(file: Path | None) -> list[Row]:
    """What an earlier run has measured."""
    if file is None or not file.exists():
        return []
    return [Row(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


@click.command()
@click.option("--canvas", type=int, multiple=True, default=(256, 512, 1024, 2048))
@click.option("--policy", type=click.Choice(list(POLICIES)), multiple=True, default=list(POLICIES))
@click.option("--builtin", is_flag=True, help="The built-in verifier instead of random weights.")
@click.option("--steps", type=click.IntRange(2), default=4, help="Steps in a block.")
@click.option(
    "--clock",
    type=click.Choice(list(CLOCKS)),
    default="wall",
    help="Processor time says more on a machine that others use too.",
)
@click.option("--threads", type=click.IntRange(1), default=1)
@click.option("--rows", type=click.Path(path_type=Path), help="Lines of JSON, one a row.")
@click.option("--table", "page", type=click.Path(path_type=Path), help="The same in Markdown.")
def main(
    canvas: tuple[int, ...],
    policy: tuple[str, ...],
    builtin: bool,
    steps: int,
    clock: str,
    threads: int,
    rows: Path | None,
    page: Path | None,
) -> None:
    """Measure what is not known yet, and say which bars are missed."""
    torch.set_num_threads(threads)
    name = "verifier" if builtin else "random"
    found = [row for row in known(rows) if row.network == name]
    have = {(row.canvas, row.policy) for row in found}
    todo = [(size, each) for size in canvas for each in policy if (size, each) not in have]
    console = Console(stderr=True)
    for size, each in track(todo, "Measuring", console=console, disable=not console.is_terminal):
        found.append(measure(each, size, steps, clock, builtin=builtin))
        if rows is not None:
            with rows.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(attrs.asdict(found[-1])) + "\n")
    order = {each: number for number, each in enumerate(POLICIES)}
    found.sort(key=lambda row: (row.canvas, order[row.policy]))
    if page is not None:
        page.write_text(table(found), encoding="utf-8")
    bars = missed(found)
    print(json.dumps({"rows": [attrs.asdict(row) for row in found], "missed": bars}, indent=2))
    sys.exit(1 if bars else 0)


if __name__ == "__main__":
    main()
