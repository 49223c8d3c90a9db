"""Training losses: masked diffusion for verifier and drafter, next token for the guide.

Legend: B rows, L sequence positions, W target positions of the whole batch, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

if TYPE_CHECKING:
    from dlmkit.builtin.batches import Batch
    from dlmkit.models.decoder import Decoder

__all__ = ["diffusion_loss", "draw_masks", "next_token_loss"]

PAD_WEIGHT = 0.1
"""Weight of a target after the first end-of-text token; those are many and easy."""

LARGEST_WEIGHT = 2.0
"""Bound of LLaDA's weight 1/t, whose variance is unbounded as t goes to 0."""


WHOLE_TEXT_SHARE = 0.5
"""A text without prompt is masked up to this share: beyond, it can only be guessed."""


def draw_masks(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw what is masked in every row, and the share `t` of it.

    Returns boolean `masked_BL`, a subset of the answer, and `t_B` in (0, 1].  The ratios are
    stratified over the batch, with density 2t instead of LLaDA's uniform one: more targets per
    pass, and closer to what decoding meets once the padding after an answer is settled.  In a
    third of the rows with a prompt everything from a random position on is masked besides, as
    it is while semi-autoregressive blocks are decoded.
    """
    rows, length = batch.ids_BL.shape
    offset = torch.rand((), generator=generator)
    t_B = (torch.randperm(rows, generator=generator) + offset) / rows
    t_B = t_B.clamp(min=0.02).sqrt()
    chance_BL = torch.rand((rows, length), generator=generator)
    start_B = torch.rand(rows, generator=generator)
    tailed_B = torch.rand(rows, generator=generator) < 1 / 3
    begin_B = batch.answer_BL.int().argmax(dim=1)
    t_B = torch.where(begin_B == 0, WHOLE_TEXT_SHARE * t_B, t_B)
    tailed_B &= begin_B > 0
    tail_B = begin_B + (start_B * (batch.first_pad_B - begin_B)).long()
    after_BL = torch.arange(length) >= tail_B[:, None]
    masked_BL = (chance_BL < t_B[:, None]) | (after_BL & tailed_B[:, None])
    masked_BL &= batch.answer_BL
    share_B = masked_BL.sum(1) / batch.answer_BL.sum(1)
    return masked_BL, torch.where(tailed_B, share_B, t_B).clamp(min=0.02)


def diffusion_loss(
    network: Decoder, batch: Batch, mask_id: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Weighted mean cross-entropy of the masked answer tokens (LLaDA, eq. 3), a scalar."""
    masked_BL, t_B = draw_masks(batch, generator)
    length = batch.ids_BL.shape[1]
    weight_BL = (1 / t_B).clamp(max=LARGEST_WEIGHT)[:, None].expand(masked_BL.shape)
    is_pad_BL = torch.arange(length) >= batch.first_pad_B[:, None]
    weight_BL = torch.where(is_pad_BL, PAD_WEIGHT * weight_BL, weight_BL)
    weight_W = weight_BL[masked_BL].to(device)
    ids_BL, masked_BL = batch.ids_BL.to(device), masked_BL.to(device)
    fed_BL = ids_BL.masked_fill(masked_BL, mask_id)
    return _weighted_loss(network, fed_BL, None, masked_BL, ids_BL[masked_BL], weight_W)


def next_token_loss(network: Decoder, batch: Batch, device: torch.device) -> Tensor:
    """Weighted mean cross-entropy of every next token; prompts count a tenth, a scalar."""
    ids_BL = batch.ids_BL.to(device)
    length = ids_BL.shape[1]
    before_BL = torch.arange(length) <= batch.first_pad_B[:, None]
    weight_BL = torch.where(batch.answer_BL & before_BL, 1.0, PAD_WEIGHT)[:, 1:].to(device)
    causal_B1LL = torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]
    read_BL = torch.ones_like(ids_BL, dtype=torch.bool)
    read_BL[:, -1] = False
    targets_W, weight_W = ids_BL[:, 1:].flatten(), weight_BL.flatten()
    return _weighted_loss(network, ids_BL, causal_B1LL, read_BL, targets_W, weight_W)


def _weighted_loss(
    network: Decoder,
    fed_BL: Tensor,
    mask: Tensor | None,
    read_BL: Tensor,
    targets_W: Tensor,
    weight_W: Tensor,
) -> Tensor:
    """Cross-entropy at the rows read, in bfloat16 except for the loss itself."""
    positions_BL = torch.arange(fed_BL.shape[1], device=fed_BL.device).expand_as(fed_BL)
    with torch.autocast(fed_BL.device.type, torch.bfloat16):
        hidden_BLD = network(fed_BL, positions_BL, mask)[0]
        logits_WV = network.head(hidden_BLD[read_BL])
    loss_W = F.cross_entropy(logits_WV.float(), targets_W, reduction="none")
    return (loss_W * weight_W).sum() / weight_W.sum()
