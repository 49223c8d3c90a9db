"""Greedy decoding of many prompts, one token per step, for measuring accuracy.

Legend: B rows, L sequence positions, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.builtin.tasks import MASK, Example
from dlmkit.builtin.tokenizer import EOS, chat_prompt, special_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from dlmkit.models.decoder import Decoder

__all__ = ["complete"]

ROWS = 32


def complete(
    network: Decoder, tokenizer: Tokenizer, examples: Sequence[Example], canvas: int = 32
) -> list[str]:
    """The completion of every example, up to the first end-of-text token."""
    eos = special_id(tokenizer, EOS)
    prompts = [_prompt_ids(tokenizer, example) for example in examples]
    groups: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[len(prompts[index]), example.whole_text].append(index)
    completions = [""] * len(examples)
    for (length, whole), members in groups.items():
        for start in range(0, len(members), ROWS):
            chunk = members[start : start + ROWS]
            filled = _fill(network, tokenizer, [prompts[i] for i in chunk], 0 if whole else canvas)
            for i, ids in zip(chunk, filled, strict=True):
                answer = ids if whole else ids[length:]
                end = answer.index(eos) if eos in answer else len(answer)
                completions[i] = tokenizer.decode(answer[:end], skip_special_tokens=False)
    return completions


def _fill(
    network: Decoder, tokenizer: Tokenizer, prompts: list[list[int]], canvas: int
) -> list[list[int]]:
    """Prompts of equal length with `canvas` new tokens, and with every mask in them filled."""
    ids_BL = torch.tensor(prompts, device=network.model.norm.weight.device)
    if network.arch.attention.kind == "causal":
        return _ids(_next_tokens(network, ids_BL, canvas))
    mask_id = special_id(tokenizer, MASK)
    return _ids(_unmask(network, F.pad(ids_BL, (0, canvas), value=mask_id), mask_id))


def _ids(ids_BL: Tensor) -> list[list[int]]:
    rows: list[list[int]] = ids_BL.tolist()
    return rows


def _prompt_ids(tokenizer: Tokenizer, example: Example) -> list[int]:
    text = example.prompt if example.whole_text else chat_prompt(example.prompt)
    ids: list[int] = tokenizer.encode(text).ids
    return ids


@torch.no_grad()
def _unmask(network: Decoder, ids_BL: Tensor, mask_id: int) -> Tensor:
    """LLaDA's low-confidence decoding with one token per step and row, in one block."""
    positions_BL = torch.arange(ids_BL.shape[1], device=ids_BL.device).expand_as(ids_BL)
    for _ in range(int((ids_BL == mask_id).sum(1).max())):
        masked_BL = ids_BL == mask_id
        logits_BLV = network.head(network(ids_BL, positions_BL)[0]).float()
        top_BL, best_BL = logits_BLV.softmax(-1).max(-1)
        place_B1 = top_BL.masked_fill(~masked_BL, -1.0).argmax(1, keepdim=True)
        chosen_B1 = best_BL.gather(1, place_B1)
        keep_B1 = ids_BL.gather(1, place_B1)
        wanted_B1 = masked_BL.gather(1, place_B1)
        ids_BL = ids_BL.scatter(1, place_B1, torch.where(wanted_B1, chosen_B1, keep_B1))
    return ids_BL


@torch.no_grad()
def _next_tokens(network: Decoder, ids_BL: Tensor, count: int) -> Tensor:
    """Plain autoregressive decoding, without a key/value store."""
    for _ in range(count):
        length = ids_BL.shape[1]
        positions_BL = torch.arange(length, device=ids_BL.device).expand_as(ids_BL)
        causal = torch.ones(length, length, dtype=torch.bool, device=ids_BL.device).tril()
        hidden_BLD = network(ids_BL, positions_BL, causal[None, None])[0]
        best_B1 = network.head(hidden_BLD[:, -1:]).argmax(-1)
        ids_BL = torch.cat((ids_BL, best_B1), dim=1)
    return ids_BL
