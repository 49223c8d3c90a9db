"""Causal-consistency path search: one text out of a lattice.

Legend: B rows, N canvas positions, E entries, W paths kept, T positions of a path, X ways to go
on (W x (E + 1)).
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Refiner
from dlmkit.draft_verify.round import Round
from dlmkit_strategies.text_counts import ngram_logp

__all__ = ["BestPath"]


@attrs.frozen
class BestPath(Refiner):
    """The best text through the alternatives of a draft, by a beam search from left to right.

    A path's score adds, for each token, lambda x the drafter's log-probability and the rest x that
    of a causal proxy: how often the text itself goes on like this (the paper fits a proxy on words
    of other texts).  Paths are compared at equal length; in the paper those that end the text are
    complete, which favours short ones.
    Source: DiffuSpec (arXiv:2510.02358), causal-consistency path search, W and lambda.
    """

    name = "best-path"
    orders = True

    beams: int = option(3, doc="paths that are kept", check=at_least(1))
    share: float = option(0.5, doc="weight of the drafter", check=(at_least(0), at_most(1)))

    def refine(self, draft: Draft, start: Round) -> Draft:
        """A chain."""
        if not draft.nodes or draft.logp_BE is None:
            return draft
        canvas = start.canvas
        last = canvas.tokens_BN.shape[1] - 1
        first_B = torch.where(canvas.masked_BN, canvas.columns_N, last).amin(dim=1)
        offset_BE = torch.where(draft.valid_BE, draft.position_BE - first_B[:, None], -1)
        # The length of a path is a number of the host.
        steps = int(offset_BE.amax()) + 1
        choice_BT = self._searched(draft, start, offset_BE, first_B, max(steps, 1))
        found_BT = choice_BT >= 0
        index_BT = choice_BT.clamp_min(0)
        position_BT = first_B[:, None] + torch.arange(index_BT.shape[1], device=first_B.device)
        return Draft.chain(
            position_BT.clamp_max(last), draft.token_BE.gather(1, index_BT), found_BT
        )

    def _searched(
        self, draft: Draft, start: Round, offset_BE: Tensor, first_B: Tensor, steps: int
    ) -> Tensor:
        """The entry of the best path at each position, `choice_BT`; -1 where it has ended."""
        canvas, logp_BE, rows = start.canvas, draft.logp_BE, len(first_B)
        assert logp_BE is not None  # noqa: S101 - the caller has checked
        known_BN, width = canvas.columns_N < first_B[:, None], offset_BE.shape[1] + 1
        before_BT = torch.stack((first_B - 2, first_B - 1), dim=1).clamp_min(0)
        pair_BW2 = canvas.tokens_BN.gather(1, before_BT)[:, None].repeat(1, self.beams, 1)
        place_W = torch.arange(self.beams, device=first_B.device)
        score_BW = torch.where(place_W == 0, 0.0, -torch.inf).double().repeat(rows, 1)
        path_BWT = pair_BW2.new_full((rows, self.beams, 0), -1)
        for step in range(steps):
            here_B1E = (offset_BE == step)[:, None]
            proxy_BWE = ngram_logp(canvas.tokens_BN, known_BN, pair_BW2, draft.token_BE)
            gain_BWE = self.share * logp_BE[:, None] + (1 - self.share) * proxy_BWE
            grown_BWE = torch.where(here_B1E, score_BW[..., None] + gain_BWE, -torch.inf)
            ends_B11 = ~here_B1E.any(dim=2, keepdim=True)
            kept_BW1 = torch.where(ends_B11, score_BW[..., None], -torch.inf)
            total_BX = torch.cat((grown_BWE, kept_BW1), dim=2).flatten(1)
            best_BW = total_BX.argsort(dim=1, descending=True, stable=True)[:, : self.beams]
            from_BW, entry_BW = best_BW // width, best_BW % width
            entry_BW = torch.where(entry_BW < width - 1, entry_BW, -1)
            score_BW = total_BX.gather(1, best_BW)
            token_BW = draft.token_BE.gather(1, entry_BW.clamp_min(0))
            second_BW = pair_BW2[..., 1].gather(1, from_BW)
            pair_BW2 = torch.stack((second_BW, token_BW), dim=2)
            path_BWT = path_BWT.gather(1, from_BW[..., None].expand(-1, -1, step))
            path_BWT = torch.cat((path_BWT, entry_BW[..., None]), dim=2)
        return path_BWT[:, 0]
