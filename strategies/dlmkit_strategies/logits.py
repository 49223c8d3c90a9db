"""Logits transforms: edits of the distribution before anything is read from it.

`suppress` is seen by everybody; temperature, top-p and top-k only by the token sampler and by
scorers that ask for the filtered distribution.

Legend: B rows, P window positions, V vocabulary.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import option
from dlmkit.host.constants import constant
from dlmkit.roles import LogitsTransform
from dlmkit.schedules import Schedule, value_at
from dlmkit.view import View

__all__ = ["Suppress", "Temperature", "TopKFilter", "TopPFilter"]


@attrs.frozen
class Suppress(LogitsTransform):
    """Forbid the tokens that end a text, a turn, or both.

    Source: LLaDA's `logits_eos_inf` (ML-GSAI/LLaDA), which forbids the end-of-text token.
    """

    name = "suppress"

    tokens: Literal["eos", "eot", "both"] = option("eos", doc="which end tokens are forbidden")

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Set the forbidden logits to minus infinity."""
        eos = view.info.eos_ids if self.tokens in ("eos", "both") else ()
        eot = view.info.eot_ids if self.tokens in ("eot", "both") else ()
        banned = constant((*eos, *eot), logits_BPV.device, torch.int64)
        ids_V = torch.arange(logits_BPV.shape[-1], device=logits_BPV.device)
        return logits_BPV.masked_fill(torch.isin(ids_V, banned), -torch.inf)


@attrs.frozen
class Temperature(LogitsTransform):
    """Divide the logits by a temperature: below 1 sharper, above 1 flatter.

    Source: as in Dream (arXiv:2508.15487), before top-p and top-k.
    """

    name = "temperature"
    stage = "sampling"

    temperature: float | Schedule = option(
        doc="divisor of the logits", check=above(0), examples=(0.2, 0.7)
    )

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Return logits / temperature."""
        divisor = value_at(self.temperature, view)
        return logits_BPV / (divisor[..., None] if isinstance(divisor, Tensor) else divisor)


@attrs.frozen
class TopPFilter(LogitsTransform):
    """Keep the smallest set of most probable tokens whose mass reaches p (nucleus sampling).

    A token is dropped when the tokens before it already exceed p, so the best one always stays.
    Source: arXiv:1904.09751; as in Dream (arXiv:2508.15487).
    """

    name = "top-p"
    stage = "sampling"

    p: float = option(0.95, doc="probability mass that is kept", check=(above(0), at_most(1)))

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Set the dropped logits to minus infinity."""
        sorted_BPV, order_BPV = logits_BPV.sort(dim=-1, descending=True, stable=True)
        mass_BPV = sorted_BPV.softmax(dim=-1).cumsum(dim=-1)
        dropped_BPV = torch.zeros_like(mass_BPV, dtype=torch.bool)
        dropped_BPV[..., 1:] = mass_BPV[..., :-1] > self.p
        dropped_BPV = torch.empty_like(dropped_BPV).scatter_(-1, order_BPV, dropped_BPV)
        return logits_BPV.masked_fill(dropped_BPV, -torch.inf)


@attrs.frozen
class TopKFilter(LogitsTransform):
    """Keep the k most probable tokens, and any that tie with the last of them.

    Source: arXiv:1805.04833; as in Dream (arXiv:2508.15487).
    """

    name = "top-k"
    stage = "sampling"

    k: int = option(50, doc="tokens that are kept", check=at_least(1))

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Set the dropped logits to minus infinity."""
        kept = min(self.k, logits_BPV.shape[-1])
        smallest_BP1 = logits_BPV.topk(kept, dim=-1).values[..., -1:]
        return logits_BPV.masked_fill(logits_BPV < smallest_BP1, -torch.inf)
