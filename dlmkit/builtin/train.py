"""Train a built-in model: `python -m dlmkit.builtin.train --model verifier`.

The run follows the stages of the model's recipe, or with `--steps` one stage on the latest
mixture.  It may be stopped earlier by time, and continues exactly with `--resume`.  The state is
kept in `OUT/state.safetensors`, the checkpoint in `OUT/checkpoint`.
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
from dlmkit.builtin.recipe import LATEST, RECIPES, Stage, usual_rate
from dlmkit.builtin.sizes import SIZES
from dlmkit.builtin.state import TrainingState
from dlmkit.builtin.tasks import MASK, TASKS
from dlmkit.builtin.tokenizer import builtin_tokenizer, special_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tokenizers import Tokenizer

__all__ = ["Run", "main", "train"]


@attrs.frozen(kw_only=True)
class Run:
    """What to train and on what; `minutes` stops early, to be resumed."""

    model: CheckpointName
    stages: Sequence[Stage]
    out: Path
    seed: int = 1
    tokens: int = 4096
    minutes: float | None = None
    device: str = "cpu"
    resume: bool = False
    compiled: bool = False
    measure_every: int = 1000
    measure_prompts: int = 64


def train(run: Run, console: Console) -> TrainingState:
    """Train until the stages or the minutes are over, then write state and checkpoint."""
    device = torch.device(run.device)
    state = TrainingState(run.model, run.seed, device)
    if run.resume:
        state.load(run.out)
    tokenizer = builtin_tokenizer()
    loss_of = _loss(run, state, tokenizer, device)
    deadline = time.monotonic() + 60 * (run.minutes or float("inf"))
    smooth = 0.0
    with _progress(console) as progress, _attention(device):
        steps = run.stages[-1].until
        bar = progress.add_task(run.model, total=steps, completed=state.step, note="")
        for stage, batch in _lessons(run, state, tokenizer):
            if time.monotonic() >= deadline:
                break
            loss = loss_of(batch)
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            state.update(stage.rate.at(state.step))
            value = loss.item()
            smooth = value if smooth == 0.0 else 0.98 * smooth + 0.02 * value
            progress.update(bar, completed=state.step, note=f"loss {smooth:.3f}")
            if state.step % 100 == 0:
                console.log(f"step {state.step} loss {smooth:.4f}")
            if state.step % run.measure_every == 0:
                _checkpoint(run, state, tokenizer, console)
    _checkpoint(run, state, tokenizer, console)
    return state


def _lessons(run: Run, state: TrainingState, tokenizer: Tokenizer) -> Iterator[tuple[Stage, Batch]]:
    """From the step that the state is at: the batch of each step, and the stage it belongs to."""
    for stage in run.stages:
        batches = Batches(tokenizer, run.seed, run.tokens, stage.mixture).from_step(state.step)
        while state.step < stage.until:
            yield stage, next(batches)


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


def _one_stage(steps: int) -> tuple[Stage, ...]:
    return (Stage(until=steps, mixture=LATEST, rate=usual_rate(steps)),)


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
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="One stage of so many steps on the latest mixture; by default the model's recipe.",
)
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
    steps: int | None,
    minutes: float | None,
    tokens: int,
    device: str,
    seed: int,
    threads: int | None,
    out: Path | None,
    resume: bool,
    compiled: bool,
) -> None:
    """Train one of the built-in models from scratch, as its recipe says."""
    if threads:
        torch.set_num_threads(threads)
    run = Run(
        model=model,
        stages=_one_stage(steps) if steps else RECIPES[model],
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
