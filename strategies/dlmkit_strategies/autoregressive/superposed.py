"""Superposed decoding: several texts from the passes of one.

Legend: B rows, N canvas positions, R texts, K texts but the first, V vocabulary.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most, below
from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.roles import Mixture
from dlmkit_strategies.autoregressive.beams import Beams
from dlmkit_strategies.autoregressive.search import Search
from dlmkit_strategies.text_counts import ngram_logp

__all__ = ["Superposed"]


@attrs.frozen(kw_only=True)
class Superposed(Search):
    """Feed the newest tokens of all texts as one mixture, and tell them apart by an n-gram model.

    A text weighs as much as its score says.  All share one row of stored keys and values and one
    prediction, cut to the best tokens and sharpened; to each text's own continuations the n-gram
    model adds its share, counted in the text before (the paper has tables of other texts).  The
    likeliest text is the answer.  Source: Superposed Decoding (arXiv:2405.18400), k drafts, alpha.
    """

    name = "superposed"
    requires = frozenset({"causal", "mixed-inputs"})

    top: int = option(9, doc="tokens of the shared prediction that are kept", check=at_least(1))
    temperature: float = option(0.06, doc="divides the log-probabilities", check=above(0))
    share: float = option(
        0.54, doc="weight of the n-gram model", check=(at_least(0), at_most(1), below(1))
    )

    def begin(self, canvas: Canvas, session: Session) -> SharedBeams:
        """One row for all texts."""
        found = SharedBeams.begin(canvas, session, self.beams, self.beams)
        found.rules = self
        return found

    def choose(self, score_RB: Tensor, logp_RBV: Tensor) -> tuple[Tensor, Tensor]:
        """The best continuations of all texts; ties go to the first text and the lowest token."""
        flat_BM = (score_RB[..., None] + logp_RBV).transpose(0, 1).flatten(1)
        best_BR = flat_BM.argsort(dim=1, descending=True, stable=True)[:, : self.beams]
        vocabulary = logp_RBV.shape[-1]
        return (best_BR // vocabulary).T, (best_BR % vocabulary).T


@attrs.define(kw_only=True, eq=False)
class SharedBeams(Beams):
    """Beams whose newest tokens are fed as one mixture."""

    rules: Superposed | None = None

    def predict(self, canvas: Canvas, place_B: Tensor, live_B: Tensor) -> Tensor:
        """Run one pass for all texts; each one's law at its row's place, `logp_RBV`."""
        assert self.rules is not None  # noqa: S101 - set where the search begins
        known_BN = canvas.columns_N < place_B[:, None]
        new_BN = known_BN & canvas.inside_BN & ~self.stored_BN & live_B[:, None]
        plan = Plan.of(new_BN, cached_BN=self.stored_BN, commit_BN=new_BN)
        written_BN = new_BN & ~canvas.given_BN
        found = self.session.predict(
            [self.tokens_RBN[0]],
            canvas,
            place_B[:, None],
            plan,
            Need(logits=True),
            live_B[:, None],
            mixture=self._mixture(written_BN),
        )
        self.stored_BN = self.stored_BN | new_BN
        logits_BPV = found[0].logits_BPV
        assert logits_BPV is not None  # noqa: S101 - asked for
        return self._told_apart(self._law(logits_BPV[:, 0], canvas), canvas, place_B)

    def _mixture(self, written_BN: Tensor) -> Mixture | None:
        """The other texts' tokens where they have written, by their weights."""
        if len(self.tokens_RBN) == 1:
            return None
        weight_RB = self.score_RB.softmax(dim=0).float()
        written_BN1 = written_BN[..., None]
        ids_BNK = torch.where(written_BN1, self.tokens_RBN[1:].permute(1, 2, 0), 0)
        return Mixture(ids_BNK=ids_BNK, weights_BNK=weight_RB[1:].T[:, None] * written_BN1)

    def _law(self, logits_BV: Tensor, canvas: Canvas) -> Tensor:
        """The shared prediction, cut and sharpened."""
        assert self.rules is not None  # noqa: S101 - as above
        ids_V = torch.arange(logits_BV.shape[1], device=logits_BV.device)
        wide_BV = logits_BV.double().masked_fill(ids_V == canvas.mask_id, -torch.inf)
        least_B1 = wide_BV.topk(min(self.rules.top, len(ids_V)), dim=1).values[:, -1:]
        kept_BV = wide_BV.masked_fill(wide_BV < least_B1, -torch.inf).log_softmax(dim=1)
        return (kept_BV / self.rules.temperature).log_softmax(dim=1)

    def _told_apart(self, law_BV: Tensor, canvas: Canvas, place_B: Tensor) -> Tensor:
        """The law of each text, with what the n-gram model says of its own last tokens."""
        assert self.rules is not None  # noqa: S101 - as above
        share, known_BN = self.rules.share, canvas.columns_N < place_B[:, None]
        ids_BV = torch.arange(law_BV.shape[1], device=law_BV.device).expand(len(law_BV), -1)
        before_B2 = torch.stack((place_B - 2, place_B - 1), dim=1).clamp_min(0)
        laws = []
        for text_BN, ended_B in zip(self.tokens_RBN, self.ended_RB, strict=True):
            pair_B12 = text_BN.gather(1, before_B2)[:, None]
            own_BV = ngram_logp(text_BN, known_BN, pair_B12, ids_BV)[:, 0]
            mixed_BV = (1 - share) * law_BV + share * own_BV if share else law_BV
            stay_V = torch.where(ids_BV[0] == self._ends()[0], 0.0, -torch.inf).to(mixed_BV)
            laws.append(torch.where(ended_B[:, None], stay_V, mixed_BV))
        return torch.stack(laws)
