"""Measure what each cache policy feeds, how long its steps take, and what its store weighs.

Usage: python tests/benchmarks/cache.py [--canvas 256 512 1024 2048] [--megaparameters 60]
       [--builtin] [--block 32] [--steps 4] [--device cpu] [--dtype float32] [--table FILE]

Runs policies on a LLaDA-shaped network with random weights (with `--builtin` on the built-in
verifier, as far as its context goes) and prints one JSON object: for each canvas and policy the
mean fed positions and median seconds of a cached step (whole passes are listed apart), the
seconds of a bare forward pass of the same plan, and the bytes of the store.  `--table` writes the
same as a Markdown table.
Exits with 1 if a bar is missed: a cached step within 1.3 times its bare pass; dual and
block-causal at least 8 times faster than no cache at canvas 1024 and above with blocks of 32;
the store within 5 % of layers x 2 x rows x heads x positions x width.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import attrs
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.denoise import Denoise
from dlmkit.engines.torch_network import TorchNetwork
from dlmkit.models.arch import ArchSpec, AttentionPattern, RotarySpec
from dlmkit.models.decoder import Decoder
from dlmkit.models.loading import load_model
from dlmkit.need import Need
from dlmkit.network import NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.roles import CachePolicy
from dlmkit.session import Session
from dlmkit_strategies.blocks import FixedBlocks
from dlmkit_strategies.cache import (
    BlockCausal,
    D2Cache,
    DelayedDecode,
    DelayedGreedy,
    Dual,
    FreeCache,
    Prefix,
    Prompt,
    Recap,
    Sparse,
)
from dlmkit_strategies.confidence import Probability
from dlmkit_strategies.order import DrawnOrder
from dlmkit_strategies.sample import Greedy
from dlmkit_strategies.transfer import Quota

ROOM, SPEED_UP, STORE = 1.3, 8.0, 1.05
HIDDEN, HEADS, VOCABULARY = 512, 8, 8192
POLICIES: dict[str, CachePolicy | None] = {
    "none": None,
    "prefix": Prefix(),
    "dual": Dual(),
    "vicinity": Dual(before=16, after=16),
    "prompt": Prompt(),
    "free-cache": FreeCache(),
    "dkv-decode": DelayedDecode(),
    "dkv-greedy": DelayedGreedy(),
    "recap": Recap(),
    "sparse": Sparse(),
    "d2cache": D2Cache(),
    "block-causal": BlockCausal(),
}


@attrs.frozen(kw_only=True)
class Row:
    """One policy on one canvas; `seconds` of its usual cached step, `fed` the mean of all."""

    canvas: int
    policy: str
    fed: float
    seconds: float
    bare_seconds: float
    whole_seconds: float | None
    store_bytes: int
    store_formula: int


@attrs.define
class Timed:
    """A network that notes each call: what it was fed, and its seconds."""

    network: TorchNetwork
    calls: list[tuple[NetworkInputs, Need, float]] = attrs.field(factory=list)

    @property
    def info(self) -> NetworkInfo:
        """Facts about the network."""
        return self.network.info

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run and note the call."""
        started = now(self.info.device)
        output = self.network.forward(inputs, need)
        self.calls.append((inputs, need, now(self.info.device) - started))
        return output


def now(device: torch.device) -> float:
    """The time once the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def network_of(options: argparse.Namespace, canvas: int, *, causal: bool) -> TorchNetwork:
    """The built-in verifier, or a LLaDA-shaped network of the wanted size with random weights."""
    if options.builtin:
        loaded = load_model("builtin/verifier", device=options.device, dtype=options.dtype)
        assert isinstance(loaded.network, TorchNetwork)
        return loaded.network
    ffn = 3 * HIDDEN
    layer = HIDDEN * (4 * HIDDEN + 3 * ffn)
    layers = max(1, round((options.megaparameters * 1e6 - 2 * VOCABULARY * HIDDEN) / layer))
    attention = AttentionPattern(kind="block-causal", block=options.block)
    arch = ArchSpec(
        vocab_rows=VOCABULARY,
        hidden=HIDDEN,
        layers=layers,
        heads=HEADS,
        kv_heads=HEADS,
        head_dim=HIDDEN // HEADS,
        ffn=ffn,
        rotary=RotarySpec(dim=HIDDEN // HEADS),
        max_positions=canvas,
        attention=attention if causal else AttentionPattern(),
    )
    torch.manual_seed(0)
    dtype, device = getattr(torch, options.dtype), torch.device(options.device)
    decoder = Decoder(arch).requires_grad_(False)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    info = NetworkInfo(
        vocab_size=VOCABULARY,
        mask_id=VOCABULARY - 1,
        eos_ids=(VOCABULARY - 2,),
        max_positions=canvas,
        attention=arch.attention,
        layers=layers,
        kv_heads=HEADS,
        head_dim=HIDDEN // HEADS,
        dtype=dtype,
        device=device,
        parameters=sum(parameter.numel() for parameter in decoder.parameters()),
    )
    return TorchNetwork(decoder.to(device, dtype).eval(), info)


def steps_of(
    cache: CachePolicy | None, network: Timed, canvas: int, options: argparse.Namespace
) -> tuple[list[float], Session]:
    """Seconds of each step of two blocks in the middle of a canvas."""
    mask = network.info.mask_id or 0
    tokens = torch.randint(0, network.info.vocab_size, (canvas // 2,))
    prompt = tokens.masked_fill(tokens == mask, mask ^ 1).tolist()
    made = Canvas.create([prompt], canvas - len(prompt), mask, device=network.info.device)
    pipeline = Denoise(
        blocks=FixedBlocks(length=options.block),
        cache=cache,
        sample=Greedy(),
        confidence=DrawnOrder() if isinstance(cache, DelayedGreedy) else Probability(),
        transfer=Quota(steps=options.steps),
    )
    session = Session(network)
    steps = pipeline.steps(Context({"main": session}), made)
    return list(seconds_of(steps, 2 * options.steps, network.info.device)), session


def seconds_of(steps: Iterator[object], count: int, device: torch.device) -> Iterator[float]:
    """Seconds of each of the next steps."""
    with torch.inference_mode():
        for _ in range(count):
            started = now(device)
            next(steps)
            yield now(device) - started


def bare_seconds(network: TorchNetwork, inputs: NetworkInputs, need: Need) -> float:
    """Median of three bare forward passes."""
    found = []
    for _ in range(3):
        started = now(network.info.device)
        network.forward(inputs, need)
        found.append(now(network.info.device) - started)
    return median(found)


def measure(name: str, canvas: int, options: argparse.Namespace) -> Row:
    """One policy on one canvas; the first step, which warms up, does not count."""
    network = Timed(network_of(options, canvas, causal=name == "block-causal"))
    seconds, session = steps_of(POLICIES[name], network, canvas, options)
    fed = [inputs.ids_BQ.shape[1] for inputs, _, _ in network.calls]
    cached = [number for number in range(1, len(fed)) if name == "none" or fed[number] < canvas]
    whole = [number for number in range(1, len(fed)) if number not in cached]
    # Passes of one width are alike; the bare one is measured on the most usual.
    usual = max(cached, key=lambda number: fed.count(fed[number]))
    inputs, need, _ = network.calls[usual]
    bare = bare_seconds(network.network, inputs, need)
    alike = [seconds[number] for number in cached if fed[number] == fed[usual]]
    return Row(
        canvas=canvas,
        policy=name,
        fed=sum(fed[number] for number in cached) / len(cached),
        seconds=median(alike),
        bare_seconds=bare,
        whole_seconds=median([seconds[number] for number in whole]) if whole else None,
        store_bytes=bytes_of(session),
        store_formula=formula(network.info, canvas) if session.store else 0,
    )


def bytes_of(session: Session) -> int:
    """What the store occupies."""
    if session.store is None:
        return 0
    held: list[Tensor] = [session.store.room.keys_YBGCE, session.store.room.values_YBGCE]
    return sum(tensor.untyped_storage().nbytes() for tensor in held)


def formula(info: NetworkInfo, canvas: int) -> int:
    """Layers x 2 x heads x positions x width, in bytes."""
    return info.layers * 2 * info.kv_heads * canvas * info.head_dim * info.dtype.itemsize


def missed(rows: list[Row], block: int) -> list[str]:
    """The bars that were not reached."""
    found = []
    plain = {row.canvas: row.seconds for row in rows if row.policy == "none"}
    for row in rows:
        label, over = f"{row.policy} at {row.canvas}", row.seconds / row.bare_seconds
        if over > ROOM:
            found.append(f"{label}: {over:.2f} times the bare pass")
        if row.store_bytes > STORE * row.store_formula:
            found.append(f"{label}: the store has {row.store_bytes}, not {row.store_formula} bytes")
        if row.policy in ("dual", "block-causal") and row.canvas >= 1024 and block == 32:
            gain = plain.get(row.canvas, float("inf")) / row.seconds
            if gain < SPEED_UP:
                found.append(f"{label}: only {gain:.1f} times faster than no cache")
    return found


def table(rows: list[Row]) -> str:
    """The same numbers in Markdown."""
    plain = {row.canvas: row.seconds for row in rows if row.policy == "none"}
    lines = [
        "| Canvas | Policy | Fed positions | ms a step | Against a bare pass | Against no cache |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = f"{plain[row.canvas] / row.seconds:.1f} x faster" if row.canvas in plain else "–"
        lines.append(
            f"| {row.canvas} | `{row.policy}` | {row.fed:.0f} | {1000 * row.seconds:.0f} | "
            f"{row.seconds / row.bare_seconds:.2f} x | {gain} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--canvas", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--megaparameters", type=float, default=60)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--builtin", action="store_true")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    pairs = [(name, canvas) for canvas in options.canvas for name in options.policies]
    if options.builtin:
        context = load_model("builtin/verifier").network.info.max_positions
        pairs = [each for each in pairs if each[0] != "block-causal" and each[1] <= context]
    console = Console(stderr=True)
    bar = track(pairs, "Measuring", console=console, disable=not console.is_terminal)
    rows = [measure(name, canvas, options) for name, canvas in bar]
    if options.table:
        options.table.write_text(table(rows), encoding="utf-8")
    bars = missed(rows, options.block)
    print(
        json.dumps(
            {
                "options": {**vars(options), "table": str(options.table)},
                "rows": [attrs.asdict(row) for row in rows],
                "missed": bars,
            },
            indent=2,
        )
    )
    sys.exit(1 if bars else 0)


if __name__ == "__main__":
    main()
