"""Greedy completions of many prompts by a built-in checkpoint, for measuring its accuracy.

Legend: B rows, L sequence positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dlmkit.builtin.tasks import MASK, Example
from dlmkit.builtin.tokenizer import EOS, builtin_tokenizer, chat_prompt, special_id
from dlmkit.engine import LoadOptions
from dlmkit.generation import Runner
from dlmkit.models.loading import load_checkpoint
from dlmkit.spec import load_spec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from dlmkit.models.text_module import TextModule

__all__ = ["completions", "continuations"]

ROWS = 40
"""Prompts decoded in one batch."""


def completions(folder: Path, examples: Sequence[Example], gen_length: int) -> list[str]:
    """The answer of a diffusion checkpoint to every example of one task, one token per step.

    This is LLaDA's low-confidence sampler at temperature 0, in blocks of 32.
    """
    overrides = [f"models.main={folder}", f"gen_length={gen_length}"]
    runner = Runner.load(load_spec("llada", overrides))
    texts: list[str] = []
    for start in range(0, len(examples), ROWS):
        chunk = examples[start : start + ROWS]
        infill = chunk[0].whole_text
        prompts = [example.prompt.replace(MASK, "<mask>") for example in chunk]
        ids = runner.encode(prompts, "infill" if infill else "chat")
        decode = runner.start(ids, infill=infill)
        for _ in decode:
            pass
        texts += [result.text for result in decode.results()]
    return texts


def continuations(folder: Path, examples: Sequence[Example], gen_length: int) -> list[str]:
    """The answer of the autoregressive guide to every example, the best token at each step."""
    tokenizer = builtin_tokenizer()
    eos = special_id(tokenizer, EOS)
    network = load_checkpoint(str(folder), LoadOptions(device="cpu")).decoder
    texts = []
    for example in examples:
        prompt = tokenizer.encode(chat_prompt(example.prompt)).ids
        ids = _continued(network, torch.tensor([prompt]), gen_length, eos)[len(prompt) :]
        texts.append(tokenizer.decode([i for i in ids if i != eos], skip_special_tokens=False))
    return texts


@torch.inference_mode()
def _continued(network: TextModule, ids_1L: Tensor, count: int, eos: int) -> list[int]:
    """The ids with up to `count` new ones, ending in the first end-of-text token."""
    ids: list[int] = ids_1L[0].tolist()
    past_k = past_v = None
    fed_1Q = ids_1L
    while count and ids[-1] != eos:
        length, fed = len(ids), fed_1Q.shape[1]
        positions_1Q = torch.arange(length - fed, length)[None]
        mask_11QK = (positions_1Q[0, :, None] >= torch.arange(length))[None, None]
        hidden_1QD, k, v = network(fed_1Q, positions_1Q, mask_11QK, past_k, past_v)
        past_k = k if past_k is None else torch.cat((past_k, k), dim=-2)
        past_v = v if past_v is None else torch.cat((past_v, v), dim=-2)
        fed_1Q = network.head(hidden_1QD[:, -1:]).argmax(-1)
        ids.append(int(fed_1Q))
        count -= 1
    return ids
