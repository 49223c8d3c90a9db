"""What a text says about its own continuation: counts of the tokens that followed others.

Legend: B rows, N canvas positions, W contexts, E tokens asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ngram_logp"]

_PARTS = (0.6, 0.3, 0.09, 0.01)
"""Weights of three, two and one tokens of context, and of none."""


def ngram_logp(tokens_BN: Tensor, known_BN: Tensor, pair_BW2: Tensor, next_BE: Tensor) -> Tensor:
    """Log-probability of each next token after each pair, counted in the text itself.

    Shares of what followed the pair, its second token and anything, mixed; `logp_BWE` float64.
    """
    text_BN = torch.where(known_BN, tokens_BN, -1)
    one_BN = torch.nn.functional.pad(text_BN, (1, 0), value=-1)[:, :-1]
    two_BN = torch.nn.functional.pad(text_BN, (2, 0), value=-1)[:, :-2]
    is_BEN = ((text_BN[:, None] == next_BE[..., None]) & known_BN[:, None]).double()
    second_BWN = (one_BN[:, None] == pair_BW2[..., 1:]) & known_BN[:, None]
    both_BWN = second_BWN & (two_BN[:, None] == pair_BW2[..., :1])
    any_BWN = known_BN[:, None].expand_as(second_BWN)
    likely_BWE = torch.full_like(both_BWN.double() @ is_BEN.mT, _PARTS[3])
    for weight, context_BWN in zip(_PARTS, (both_BWN, second_BWN, any_BWN), strict=False):
        count_BW1 = context_BWN.sum(dim=2, keepdim=True).clamp_min(1)
        likely_BWE = likely_BWE + weight * (context_BWN.double() @ is_BEN.mT) / count_BW1
    return likely_BWE.log()
