"""Prompt tokens: embeddings that are fed and never written, beside those of a vocabulary.

Legend: M prompt tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch reader knows

from dlmkit.errors import ModelError
from dlmkit.models.layers import Embedding

if TYPE_CHECKING:
    from pathlib import Path

    from dlmkit.models.decoder import Decoder
    from dlmkit.models.text_module import TextModule

__all__ = ["PromptedEmbedding", "give_prompt_tokens", "prompt_ids", "prompt_ids_of"]


def prompt_ids(vocabulary: int, count: int) -> tuple[int, ...]:
    """The ids under which they are fed; the first number after the vocabulary is the canvas's."""
    return tuple(range(vocabulary + 1, vocabulary + 1 + count))


def prompt_ids_of(module: TextModule) -> tuple[int, ...]:
    """The ids of the prompt tokens that a module embeds."""
    found = [part for part in module.modules() if isinstance(part, PromptedEmbedding)]
    return prompt_ids(module.arch.vocab_rows, len(found[0].prompts_MD)) if found else ()


class PromptedEmbedding(Embedding):
    """An embedding with more rows: `prompts_MD` under the numbers of `prompt_ids`.

    `weight` is that of the vocabulary, the same memory as before.
    """

    prompts_MD: Tensor

    def __init__(self, weight_VD: Tensor, prompts_MD: Tensor) -> None:
        rows, width = weight_VD.shape
        super().__init__(rows, width, _weight=weight_VD, _freeze=True)
        self.register_buffer("prompts_MD", prompts_MD)

    def forward(self, ids: Tensor) -> Tensor:
        """The embeddings of tokens of both kinds."""
        known, last = len(self.weight), len(self.prompts_MD) - 1
        words = F.embedding(ids.clamp_max(known - 1), self.weight)
        prompts = F.embedding((ids - known - 1).clamp(0, last), self.prompts_MD)
        return torch.where((ids > known)[..., None], prompts, words)


def give_prompt_tokens(module: Decoder, path: Path) -> None:
    """Let a module embed the prompt tokens of a file as well.

    Raises:
        ModelError: the file cannot be read, or is for networks of another width.
    """
    try:
        prompts_MD = load_file(path)["prompts_MD"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"'{path}' holds no prompt tokens: {error}",
            hint="train some, as `python -m dlmkit.builtin.prompt_tokens` does for builtin/guide",
        ) from error
    weight = module.model.embed_tokens.weight.detach()
    if prompts_MD.ndim != 2 or prompts_MD.shape[1] != weight.shape[1]:
        raise ModelError(
            f"'{path}' holds prompt tokens of shape {tuple(prompts_MD.shape)}, but the model's "
            f"embeddings have {weight.shape[1]} numbers",
            hint="use prompt tokens that were trained for this model",
        )
    placed_MD = prompts_MD.to(device=weight.device, dtype=weight.dtype)
    module.model.embed_tokens = PromptedEmbedding(weight, placed_MD)
