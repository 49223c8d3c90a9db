"""Train prompt tokens for the built-in guide: `python -m dlmkit.builtin.prompt_tokens`.

A prompt token is an embedding that is fed and never written.  Behind a text, the j-th of them
makes the frozen network predict the token j + 1 positions on, without seeing those between
(parallel prompt decoding, arXiv:2405.18628).  They are taught what the network itself says once
it has seen them.

Legend: B rows, L text positions, A places in a text, M prompt tokens, Q = L + A x M fed
positions, D hidden size, V vocabulary, K candidates.
"""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click
import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.builtin import checkpoint_path
from dlmkit.builtin.batches import Batch, Batches
from dlmkit.builtin.tokenizer import builtin_tokenizer
from dlmkit.engine import LoadOptions
from dlmkit.models.decoder import Decoder
from dlmkit.models.derivation import EMBEDDINGS
from dlmkit.models.loading import load_checkpoint

__all__ = ["Lesson", "agreement", "built_in_guide", "lesson", "taught"]

COUNT = 3
"""Prompt tokens, as in the paper."""

PLACES = 16
"""Places in each text at which they are tried."""

RATE = 0.03
"""Peak learning rate of AdamW, which falls to nothing as a half cosine."""

MEASURED = 10
"""Candidates whose agreement is measured."""


@attrs.frozen(kw_only=True)
class Lesson:
    """What is fed beside a batch of texts, and where its predictions are taught.

    `positions_BQ` and `mask_B1QQ` as the decoder takes them; `row_BAM` int64 is the row of the text
    that says what the prompt token there should say; `told_BAM` bool is false where the text has
    ended.
    """

    positions_BQ: Tensor
    mask_B1QQ: Tensor
    row_BAM: Tensor
    told_BAM: Tensor


def lesson(batch: Batch, count: int, generator: torch.Generator) -> Lesson:
    """Draw places in every answer, and lay prompt tokens out behind each of them.

    A prompt token sees the text up to its place and those before it there; the text sees none.
    """
    rows, length = batch.ids_BL.shape
    first_B = batch.answer_BL.int().argmax(dim=1)
    share_BA = torch.rand(rows, PLACES, generator=generator)
    span_B1 = (batch.first_pad_B - first_B).clamp_min(1)[:, None]
    place_BA = (first_B[:, None] - 1 + (share_BA * span_B1).long()).clamp(0, length - 1)
    step_M = torch.arange(count)
    row_BAM = place_BA[..., None] + 1 + step_M
    text_L = torch.arange(length)
    positions_BQ = torch.cat((text_L.expand(rows, -1), row_BAM.flatten(1)), dim=1)
    group_X, number_X = torch.arange(PLACES * count) // count, torch.arange(PLACES * count) % count
    own_XX = (group_X[:, None] == group_X) & (number_X[:, None] >= number_X)
    sees_BXL = text_L <= place_BA[:, group_X, None]
    below_BXQ = torch.cat((sees_BXL, own_XX.expand(rows, -1, -1)), dim=2)
    causal_LL = (text_L[:, None] >= text_L).expand(rows, -1, -1)
    above_BLQ = F.pad(causal_LL, (0, PLACES * count))
    return Lesson(
        positions_BQ=positions_BQ,
        mask_B1QQ=torch.cat((above_BLQ, below_BXQ), dim=1)[:, None],
        row_BAM=row_BAM.clamp_max(length - 1),
        told_BAM=row_BAM < batch.first_pad_B[:, None, None],
    )


def answers(
    network: Decoder, prompts_MD: Tensor, batch: Batch, made: Lesson
) -> tuple[Tensor, Tensor]:
    """What the prompt tokens say, and what the network says there itself, both `logits_XV`."""
    rows, length = batch.ids_BL.shape
    text_BLD = network.embed(batch.ids_BL)
    fed_BQD = torch.cat((text_BLD, prompts_MD.repeat(PLACES, 1).expand(rows, -1, -1)), dim=1)
    ids_BQ = torch.zeros_like(made.positions_BQ)
    hidden_BQD = network(ids_BQ, made.positions_BQ, made.mask_B1QQ, embeds_BQD=fed_BQD)[0]
    row_BX = made.row_BAM.flatten(1)
    index_BXD = row_BX[..., None].expand(-1, -1, hidden_BQD.shape[2])
    told_BX = made.told_BAM.flatten(1)
    said_XD = hidden_BQD[:, length:][told_BX]
    itself_XD = hidden_BQD[:, :length].gather(1, index_BXD)[told_BX]
    return network.head(said_XD), network.head(itself_XD.detach())


def taught(network: Decoder, batches: Batches, steps: int, seed: int, console: Console) -> Tensor:
    """Train from the mean embedding, so long; `prompts_MD`."""
    generator = torch.Generator().manual_seed(seed)
    mean_1D = network.model.embed_tokens.weight.detach().mean(dim=0, keepdim=True)
    noise_MD = 0.02 * torch.randn(COUNT, mean_1D.shape[1], generator=generator)
    prompts_MD = (mean_1D + noise_MD).requires_grad_()
    optimiser = torch.optim.AdamW([prompts_MD], lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    hidden = not console.is_terminal
    for batch, _ in zip(
        batches.from_step(0),
        track(range(steps), "prompt tokens", console=console, disable=hidden),
        strict=False,
    ):
        made = lesson(batch, COUNT, generator)
        said_XV, itself_XV = answers(network, prompts_MD, batch, made)
        loss = F.cross_entropy(said_XV, itself_XV.softmax(dim=1))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        optimiser.step()
        schedule.step()
    return prompts_MD.detach()


@torch.inference_mode()
def agreement(
    network: Decoder, prompts_MD: Tensor, batches: Batches, count: int, seed: int
) -> list[list[float]]:
    """How often the network's best token is each candidate of each prompt token, `[M][K]`."""
    generator = torch.Generator().manual_seed(seed)
    hits_MK, total_M = torch.zeros(COUNT, MEASURED), torch.zeros(COUNT)
    for batch, _ in zip(batches.from_step(0), range(count), strict=False):
        made = lesson(batch, COUNT, generator)
        said_XV, itself_XV = answers(network, prompts_MD, batch, made)
        number_X = torch.arange(COUNT).expand_as(made.told_BAM)[made.told_BAM]
        hit_XK = said_XV.topk(MEASURED, dim=1).indices == itself_XV.argmax(dim=1, keepdim=True)
        hits_MK.index_add_(0, number_X, hit_XK.float())
        total_M += number_X.bincount(minlength=COUNT)
    rates: list[list[float]] = (hits_MK / total_M[:, None]).tolist()
    return [[round(rate, 3) for rate in row] for row in rates]


def built_in_guide() -> Decoder:
    """The guide's network in float32, which is not trained."""
    options = LoadOptions(device="cpu", dtype="float32")
    network = load_checkpoint(str(checkpoint_path("guide")), options).decoder
    assert isinstance(network, Decoder)  # noqa: S101 - Qwen2 is one
    return network.requires_grad_(False)


@click.command()
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--measured",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Batches of other examples on which the agreement is measured.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=EMBEDDINGS / "guide.safetensors")
def main(steps: int, seed: int, measured: int, threads: int, out: Path) -> None:
    """Train prompt tokens for the built-in guide, and measure them on other examples."""
    torch.set_num_threads(threads)
    console, tokenizer = Console(stderr=True), builtin_tokenizer()
    network = built_in_guide()
    prompts_MD = taught(network, Batches(tokenizer, seed, 1024), steps, seed, console)
    others = Batches(tokenizer, seed + 1000, 1024)
    rates = agreement(network, prompts_MD, others, measured, seed)
    for number, row in enumerate(rates, 2):
        console.print(f"token {number} on: {row}")
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"model": "guide", "steps": steps, "seed": seed, "agreement": rates}
    save_file({"prompts_MD": prompts_MD}, out, metadata={"about": json.dumps(about)})


if __name__ == "__main__":
    main()
