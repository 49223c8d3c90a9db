"""Beam search over a causal network, in groups that keep apart.

Legend: B rows, R beams, W beams of a group, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.passes.session import Session
from dlmkit_strategies.autoregressive.beams import Beams
from dlmkit_strategies.autoregressive.search import Search

__all__ = ["BeamSearch"]


@attrs.frozen(kw_only=True)
class BeamSearch(Search):
    """Keep the likeliest texts in every pass; groups choose in turn, and avoid each other.

    A group keeps its W = beams / groups texts of largest log-probability, where each token costs
    `diversity` for every beam of an earlier group that chose it in the same pass.  The likeliest
    text of all is the answer; its beams run as rows of one pass.  One group is ordinary beam
    search, one beam greedy decoding.
    Source: Diverse Beam Search (arXiv:1610.02424), Hamming diversity, lambda in nats.
    """

    name = "beam-search"

    groups: int = option(1, doc="groups of beams; divides `beams`", check=at_least(1))
    diversity: float = option(
        0.5, doc="what a token costs for each earlier choice of it, in nats", check=at_least(0)
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse groups of unequal size."""
        if options["beams"] % options["groups"]:
            yield "groups", "must divide `beams`", "change one of them"

    def begin(self, canvas: Canvas, session: Session) -> Beams:
        """Rows of their own for every beam."""
        return Beams.begin(canvas, session, self.beams, self.beams // self.groups)

    def choose(self, score_RB: Tensor, logp_RBV: Tensor) -> tuple[Tensor, Tensor]:
        """The best of each group in turn."""
        width = self.beams // self.groups
        total_RBV = score_RB[..., None] + logp_RBV
        vocabulary = total_RBV.shape[-1]
        taken_BV = torch.zeros_like(total_RBV[0])
        parents, tokens = [], []
        for group, own_WBV in enumerate(torch.split(total_RBV, width)):
            flat_BM = (own_WBV - self.diversity * taken_BV).transpose(0, 1).flatten(1)
            # A stable sort: ties go to the first beam, then to the lowest token.
            best_BW = flat_BM.argsort(dim=1, descending=True, stable=True)[:, :width]
            token_BW = best_BW % vocabulary
            taken_BV = taken_BV.scatter_add(1, token_BW, torch.ones_like(token_BW).to(taken_BV))
            tokens.append(token_BW.T)
            parents.append(group * width + best_BW.T // vocabulary)
        return torch.cat(parents), torch.cat(tokens)
