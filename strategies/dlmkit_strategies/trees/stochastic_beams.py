"""Recursive speculative decoding by stochastic beam search: a tree as wide as its best beams.

Legend: B rows, W beams kept at a depth, F beams of the depth before, V vocabulary, M = F x V.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import count

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import above, at_least
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, Setting
from dlmkit_strategies.trees.causal_drafter import CausalDrafter, noise_of
from dlmkit_strategies.trees.shapes import Levels

__all__ = ["StochasticBeams", "below"]


@attrs.frozen(kw_only=True)
class StochasticBeams(Drafter):
    """Texts drawn without replacement from a causal drafter, as a tree that branches where it may.

    Every text has a number: its log-probability and Gumbel noise, so cut that no child exceeds its
    parent.  At each depth the texts of the largest numbers stand, wherever they come from; so
    brothers are draws without replacement in falling order, which the judge `recursive` tries one
    after the other, and the verifier's law is kept exactly.  As deep as the schedule allows.
    Source: recursive speculative decoding (arXiv:2402.14160), RSD-S with W beams; stochastic beam
    search (arXiv:1903.06059).
    """

    name = "stochastic-beams"
    order = "position"
    branches = True
    tells_laws = True
    requires = frozenset({"causal"})

    model: str = option("main", doc="name of the drafting network in `models`")
    beams: int = option(4, doc="texts that are kept at each depth", check=at_least(1))
    temperature: float = option(1.0, doc="divides the drafter's logits", check=above(0))

    def begin(self, setting: Setting) -> DraftRun:
        """Open a session of its own."""
        return _Searching(self, CausalDrafter.begin(self.model, self.temperature, setting))

    def sampled(self) -> bool:
        """Every token is drawn from the law that is reported."""
        return True

    def alone(self) -> bool:
        """A node is a token."""
        return True


def below(parent_BF1: Tensor, noised_BFV: Tensor) -> Tensor:
    """Numbers cut so that each parent's largest child has its own number, `[B, F, V]` float64.

    That is -log(e^-parent - e^-Z + e^-noised), Z the largest of the brothers, in a form that
    neither overflows nor cancels.
    """
    most_BF1 = noised_BFV.amax(dim=-1, keepdim=True)
    gap_BFV = parent_BF1 - noised_BFV + torch.log1p(-(noised_BFV - most_BF1).exp())
    return parent_BF1 - gap_BFV.clamp_min(0) - torch.log1p((-gap_BFV.abs()).exp())


@attrs.define(eq=False)
class _Beams:
    """The texts of a depth: `logp_BF` their log-probabilities, `number_BF` the noised ones."""

    texts: list[Tensor]
    logp_BF: Tensor
    number_BF: Tensor


@attrs.define(eq=False)
class _Searching(DraftRun):
    drafter: StochasticBeams
    network: CausalDrafter

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Go on from the beams depth by depth, each in one pass."""
        nothing_B1 = torch.zeros_like(start.live_B[:, None], dtype=torch.float64)
        beams = _Beams([start.canvas.tokens_BN], nothing_B1, nothing_B1)
        levels, known, laws = Levels(), [], []
        for depth in count():
            place_B1, going_B = self.network.going(start, depth)
            if not bool(going_B.any()):
                break
            law_BFV = self.network.laws(start, beams.texts, place_B1, going_B)
            beams, from_BW = self._grown(beams, law_BFV, start, place_B1)
            tokens = [text.gather(1, place_B1) for text in beams.texts]
            levels.add(torch.cat(tokens, dim=1), from_BW)
            known.append(beams.number_BF > -torch.inf)
            laws.append(_picked(law_BFV, from_BW))
            yield self.network.record(start, beams.texts[0], place_B1, going_B)
        if not known:
            return Draft.empty(len(start.live_B), start.live_B.device)
        return levels.as_draft(torch.cat(known, dim=1), start, law_BDV=torch.cat(laws, dim=1))

    def _grown(
        self, beams: _Beams, law_BFV: Tensor, start: Round, place_B1: Tensor
    ) -> tuple[_Beams, Tensor]:
        """The beams of the next depth, and which one each of them continues, `from_BW`."""
        vocabulary = law_BFV.shape[-1]
        noise_BFV = noise_of(self.drafter.name, law_BFV, place_B1, start)
        logp_BFV = beams.logp_BF[..., None] + law_BFV
        number_BFV = below(beams.number_BF[..., None], logp_BFV + noise_BFV)
        # A beam that is none has no children, and neither has a token that cannot be drawn.
        number_BM = torch.where(logp_BFV > -torch.inf, number_BFV, -torch.inf).flatten(1)
        best_BW = number_BM.argsort(dim=1, descending=True, stable=True)[:, : self.drafter.beams]
        from_BW, token_BW = best_BW // vocabulary, best_BW % vocabulary
        texts_BFN = torch.stack(beams.texts, dim=1)
        texts = [
            text_BN.scatter(1, place_B1, token_B[:, None])
            for text_BN, token_B in zip(
                _picked(texts_BFN, from_BW).unbind(dim=1), token_BW.unbind(dim=1), strict=True
            )
        ]
        logp_BW, number_BW = logp_BFV.flatten(1).gather(1, best_BW), number_BM.gather(1, best_BW)
        return _Beams(texts, logp_BW, number_BW), from_BW


def _picked(values_BFX: Tensor, from_BW: Tensor) -> Tensor:
    """What belongs to the chosen beams."""
    return values_BFX.gather(1, from_BW[..., None].expand(-1, -1, values_BFX.shape[-1]))
