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
        canvas, logp_BE = start.canvas, draft.logp_BE
        assert logp_BE is not None  # noqa: S101 - the caller has checked
        known_BN = canvas.columns_N < first_B[:, None]
        paths = _Paths.at(first_B, canvas.tokens_BN, self.beams)
        for step in range(steps):
            proxy_BWE = ngram_logp(canvas.tokens_BN, known_BN, paths.pair_BW2, draft.token_BE)
            gain_BWE = self.share * logp_BE[:, None] + (1 - self.share) * proxy_BWE
            paths = paths.longer(gain_BWE, offset_BE == step, draft.token_BE)
        return paths.entry_BWT[:, 0]


@attrs.frozen(eq=False)
class _Paths:
    """The best paths so far: last two tokens, score, and the entry at each position (-1: none)."""

    pair_BW2: Tensor
    score_BW: Tensor
    entry_BWT: Tensor

    @classmethod
    def at(cls, first_B: Tensor, tokens_BN: Tensor, count: int) -> _Paths:
        """So many of no length, of which only the first can go on."""
        rows, place_W = len(first_B), torch.arange(count, device=first_B.device)
        before_BT = torch.stack((first_B - 2, first_B - 1), dim=1).clamp_min(0)
        pair_BW2 = tokens_BN.gather(1, before_BT)[:, None].repeat(1, count, 1)
        score_BW = torch.where(place_W == 0, 0.0, -torch.inf).double().repeat(rows, 1)
        return cls(pair_BW2, score_BW, pair_BW2.new_full((rows, count, 0), -1))

    def longer(self, gain_BWE: Tensor, here_BE: Tensor, token_BE: Tensor) -> _Paths:
        """The best that are a position longer, as many; the same where no entry is `here_BE`."""
        width, score_BW1 = here_BE.shape[1] + 1, self.score_BW[..., None]
        grown_BWE = torch.where(here_BE[:, None], score_BW1 + gain_BWE, -torch.inf)
        ends_B11 = ~here_BE.any(dim=1)[:, None, None]
        kept_BW1 = torch.where(ends_B11, score_BW1, -torch.inf)
        total_BX = torch.cat((grown_BWE, kept_BW1), dim=2).flatten(1)
        order_BX = total_BX.argsort(dim=1, descending=True, stable=True)
        best_BW = order_BX[:, : self.score_BW.shape[1]]
        from_BW, entry_BW = best_BW // width, best_BW % width
        entry_BW = torch.where(entry_BW < width - 1, entry_BW, -1)
        token_BW = token_BE.gather(1, entry_BW.clamp_min(0))
        second_BW = self.pair_BW2[..., 1].gather(1, from_BW)
        past_BWT = self.entry_BWT.gather(1, from_BW[..., None].expand_as(self.entry_BWT))
        return _Paths(
            pair_BW2=torch.stack((second_BW, token_BW), dim=2),
            score_BW=total_BX.gather(1, best_BW),
            entry_BWT=torch.cat((past_BWT, entry_BW[..., None]), dim=2),
        )
