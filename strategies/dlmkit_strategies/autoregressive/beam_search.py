"""Beam search over a causal network, in groups that keep apart.

Legend: B rows, R beams, W beams of a group, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.context import Context
from dlmkit.errors import EngineError
from dlmkit.records import StepRecord
from dlmkit.roles import Procedure
from dlmkit.view import BlockSpan
from dlmkit_strategies.autoregressive.beams import Beams

__all__ = ["BeamSearch"]


@attrs.frozen(kw_only=True)
class BeamSearch(Procedure):
    """Keep the likeliest texts in every pass; groups choose in turn, and avoid each other.

    A group keeps its W = beams / groups texts of largest log-probability, where each token costs
    `diversity` for every beam of an earlier group that chose it in the same pass.  The likeliest
    text of all is the answer; its beams run as rows of one pass.  One group is ordinary beam
    search, one beam greedy decoding.
    Source: Diverse Beam Search (arXiv:1610.02424), Hamming diversity, lambda in nats.
    """

    name = "beam-search"
    requires: ClassVar[frozenset[str]] = frozenset({"causal"})

    model: str = option("main", doc="name of the network in `models`")
    beams: int = option(4, doc="texts that are kept", check=at_least(1))
    groups: int = option(1, doc="groups of beams; divides `beams`", check=at_least(1))
    diversity: float = option(
        0.5, doc="what a token costs for each earlier choice of it, in nats", check=at_least(0)
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse groups of unequal size."""
        if options["beams"] % options["groups"]:
            yield "groups", "must divide `beams`", "change one of them"

    def home(self) -> str:
        """The only model there is."""
        return self.model

    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; it holds the best text so far after each pass.

        Raises:
            EngineError: the network is not causal.
        """
        session = context.session(self.model)
        if session.info.attention.kind != "causal":
            raise EngineError(
                f"beam search is for causal networks; this one's attention is "
                f"{session.info.attention.kind}",
                hint="use an autoregressive model, for example builtin/guide",
            )
        found = Beams.begin(canvas, session, self.beams, self.beams // self.groups)
        for step in count():
            open_BN = canvas.masked_BN & canvas.undone_B1
            live_B = open_BN.any(dim=1)
            if not bool(live_B.any()):
                return
            last = canvas.tokens_BN.shape[1] - 1
            place_B = torch.where(open_BN, canvas.columns_N, last).amin(dim=1)
            before_BN = canvas.tokens_BN
            logp_RBV = found.predict(canvas, place_B, live_B)
            found.extend(*self._choose(found.score_RB, logp_RBV), logp_RBV, place_B)
            found.write_best(canvas, live_B, step)
            yield StepRecord(
                step=step,
                network=self.model,
                counts=session.counts,
                before_BN=before_BN,
                after_BN=canvas.tokens_BN,
                positions_BP=place_B[:, None],
                proposals_BP=canvas.tokens_BN.gather(1, place_B[:, None]),
                confidence_BP=found.best(found.gain_RB).exp()[:, None],
                live_B=live_B,
                block=BlockSpan(place_B, place_B + 1, place_B - canvas.start_B, 1),
            )

    def _choose(self, score_RB: Tensor, logp_RBV: Tensor) -> tuple[Tensor, Tensor]:
        """The beam that each new beam continues, and with which token."""
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
