"""Train a built-in model: `python -m dlmkit.builtin.train --model verifier`.

The run is bounded by steps, and optionally stopped earlier by time; it continues exactly with
`--resume`.  The state is kept in `OUT/state.safetensors`, the checkpoint in `OUT/checkpoint`.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dlmkit.builtin import CHECKPOINTS, CheckpointName
from dlmkit.builtin.batches import Batch, Batches
from dlmkit.builtin.evaluate import measure
from dlmkit.builtin.layout import write_checkpoint
from dlmkit.builtin.objective import diffusion_loss, next_token_loss
from dlmkit.builtin.sizes import SIZES
from dlmkit.builtin.state import TrainingState
from dlmkit.builtin.tasks import MASK, TASKS
from dlmkit.builtin.tokenizer import builtin_tokenizer, special_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenizers import Tokenizer

__all__ = ["Run", "main", "train"]

WARM_UP = 200
PLATEAU_SHARE = 1 / 3
"""Share of the steps at the peak learning rate."""

DECAY_FROM = 0.6
"""Share of the peak from which the learning rate then falls linearly to nothing."""


@attrs.frozen(kw_only=True)
class Run:
    """What to train and for how long; `minutes` stops early, to be resumed."""

    model: CheckpointName
    steps: int
    out: Path
    seed: int = 1
    tokens: int = 4096
    minutes: float | None = None
    device: str = "cpu"
    resume: bool = False
    compiled: bool = False
    measure_every: int = 1000
    measure_prompts: int = 64


def rate_at(step: int, steps: int) -> float:
    """Learning rate as a share of its peak: warm-up, plateau, a drop, linear decay."""
    plateau = PLATEAU_SHARE * steps
    if step < plateau:
        return min(1.0, (step + 1) / WARM_UP)
    return DECAY_FROM * (steps - step) / (steps - plateau)


def train(run: Run, console: Console) -> TrainingState:
    """Train until the steps or the minutes are over, then write state and checkpoint."""
    device = torch.device(run.device)
    state = TrainingState(run.model, run.seed, device)
    if run.resume:
        state.load(run.out)
    tokenizer = builtin_tokenizer()
    loss_of = _loss(run, state, tokenizer, device)
    batches = Batches(tokenizer, run.seed, run.tokens).from_step(state.step)
    deadline = time.monotonic() + 60 * (run.minutes or float("inf"))
    smooth = 0.0
    with _progress(console) as progress, _attention(device):
        bar = progress.add_task(run.model, total=run.steps, completed=state.step, note="")
        while state.step < run.steps and time.monotonic() < deadline:
            loss = loss_of(next(batches))
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            state.update(rate_at(state.step, run.steps))
            value = loss.item()
            smooth = value if smooth == 0.0 else 0.98 * smooth + 0.02 * value
            progress.update(bar, completed=state.step, note=f"loss {smooth:.3f}")
            if state.step % 100 == 0:
                console.log(f"step {state.step} loss {smooth:.4f}")
            if state.step % run.measure_every == 0:
                _checkpoint(run, state, tokenizer, console)
    _checkpoint(run, state, tokenizer, console)
    return state


def _loss(
    run: Run, state: TrainingState, tokenizer: Tokenizer, device: torch.device
) -> Callable[[Batch], torch.Tensor]:
    """The loss of a batch; its random masks depend on seed and step alone."""
    mask_id = special_id(tokenizer, MASK)
    network = state.network
    if run.compiled:
        network.compile(dynamic=True)

    def loss(batch: Batch) -> torch.Tensor:
        if SIZES[run.model].attention.kind == "causal":
            return next_token_loss(network, batch, device)
        generator = torch.Generator().manual_seed(run.seed * 1_000_003 + state.step)
        return diffusion_loss(network, batch, mask_id, generator, device)

    return loss


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """Plain attention on CPU: for short sequences it trains faster there than the fused one."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _checkpoint(run: Run, state: TrainingState, tokenizer: Tokenizer, console: Console) -> None:
    """Save the state and the averaged weights, and measure those on held-out prompts."""
    state.save(run.out)
    folder = run.out / "checkpoint"
    write_checkpoint(folder, SIZES[run.model], state.average, tokenizer)
    for task in TASKS:
        if run.measure_prompts and not (task == "infill" and run.model == "guide"):
            report = measure(run.model, folder, task, run.measure_prompts, canvas=32)
            console.log(f"step {state.step} {task}: {report.overall.rate:.1%} exact")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


@click.command()
@click.option("--model", type=click.Choice(CHECKPOINTS), default="verifier", show_default=True)
@click.option("--steps", type=click.IntRange(1), default=9_000, show_default=True)
@click.option("--minutes", type=float, help="Stop after this time; continue with --resume.")
@click.option(
    "--tokens", type=click.IntRange(256), default=4096, show_default=True, help="Tokens per batch."
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads; all by default.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the run; default runs/MODEL."
)
@click.option("--resume", is_flag=True, help="Continue the run in the folder.")
@click.option(
    "--compile", "compiled", is_flag=True, help="Compile the network; needs a C++ compiler."
)
def main(
    model: CheckpointName,
    steps: int,
    minutes: float | None,
    tokens: int,
    device: str,
    seed: int,
    threads: int | None,
    out: Path | None,
    resume: bool,
    compiled: bool,
) -> None:
    """Train one of the built-in models from scratch."""
    if threads:
        torch.set_num_threads(threads)
    run = Run(
        model=model,
        steps=steps,
        out=out or Path("runs") / model,
        seed=seed,
        tokens=tokens,
        minutes=minutes,
        device=device,
        resume=resume,
        compiled=compiled,
    )
    train(run, Console(stderr=True))


if __name__ == "__main__":
    main()
