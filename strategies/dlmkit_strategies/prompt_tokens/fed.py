"""Prompt tokens in place of the first undecided positions.

Legend: B rows, N canvas positions, M prompt tokens.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.roles import InputTransform
from dlmkit.view import View

__all__ = ["PromptTokens"]


@attrs.frozen
class PromptTokens(InputTransform):
    """Feed the model's prompt tokens where a row's first masks are, each at its distance.

    Under causal attention nothing that is decided sees them, so the text stays the model's own;
    behind the next token they say what may come after it.  Models get them by
    `derive: {prompt_tokens: ...}`.
    Source: parallel prompt decoding (arXiv:2405.18628), with one embedding for each distance.
    """

    name = "prompt-tokens"
    requires = frozenset({"prompt-tokens"})

    def apply(self, ids_BN: Tensor, view: View) -> Tensor:
        """The ids with prompt tokens from the first mask on, as many as the model has."""
        canvas, prompts = view.canvas, view.info.prompt_ids
        if not prompts:
            return ids_BN
        last = ids_BN.shape[1] - 1
        first_B1 = torch.where(canvas.masked_BN, canvas.columns_N, last).amin(dim=1, keepdim=True)
        offset_BN = canvas.columns_N - first_B1
        prompt_M = torch.tensor(prompts, device=ids_BN.device)
        here_BN = canvas.masked_BN & (offset_BN >= 0) & (offset_BN < len(prompts))
        return torch.where(here_BN, prompt_M[offset_BN.clamp(0, len(prompts) - 1)], ids_BN)
