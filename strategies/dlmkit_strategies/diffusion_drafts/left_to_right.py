"""Drafts that were revealed in any order, put in the order in which a causal network reads.

Legend: B rows, E entries.
"""

from __future__ import annotations

import attrs
import torch

from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Refiner
from dlmkit.draft_verify.round import Round

__all__ = ["LeftToRight"]


@attrs.frozen
class LeftToRight(Refiner):
    """The drafted tokens from the first mask on, up to the first position without one, as a chain.

    Laws are left out: a token that was drawn after others to its right was not drawn from a law of
    what lies to its left.  Of a draft that branches the beginning is left that all texts share.
    Source: speculative diffusion decoding (arXiv:2408.05636), whose drafts are read like that.
    """

    name = "left-to-right"
    orders = True

    def refine(self, draft: Draft, start: Round) -> Draft:
        """One node for each token."""
        canvas, far = start.canvas, start.canvas.tokens_BN.shape[1]
        place_BE = torch.where(draft.valid_BE, draft.position_BE, far)
        position_BE, order_BE = place_BE.sort(dim=1, stable=True)
        first_B1 = torch.where(canvas.masked_BN, canvas.columns_N, far).amin(dim=1, keepdim=True)
        step_E = torch.arange(position_BE.shape[1], device=position_BE.device)
        valid_BE = (position_BE == first_B1 + step_E) & (position_BE < far)
        logp_BE = None if draft.logp_BE is None else draft.logp_BE.gather(1, order_BE)
        return Draft.chain(
            position_BE.clamp_max(far - 1),
            draft.token_BE.gather(1, order_BE),
            valid_BE,
            logp_BE=logp_BE,
        )
