"""Judges that draw: what is emitted follows the verifier's law exactly.

With a scope that stops at the first failure and `resolve: replace-first`, a text decoded with one
of them has the distribution that the verifier alone would give it.

Legend: B rows, E entries, V vocabulary.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.evidence import Evidence
from dlmkit.draft_verify.roles import Judge
from dlmkit.draft_verify.round import Round
from dlmkit.draft_verify.verdict import Verdict
from dlmkit.errors import StrategyError
from dlmkit.need import Need

__all__ = ["PointMass", "Ratio", "Recursive"]


@attrs.frozen
class Ratio(Judge):
    """Pass a guess with probability p(t)/q(t), at most 1; else draw from what q lacks of p.

    p is the verifier's law and q the one that the guess was drawn from.
    Source: speculative sampling (arXiv:2211.17192, arXiv:2302.01318).
    """

    name = "ratio"
    need = Need(logits=True)
    laws = True
    exact = True
    drawn = True
    replaces = True

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """One coin and one replacement for each entry."""
        p_BEV, q_BEV = _law(evidence), _drafted(draft)
        coin_BE = start.noise.uniform_BP("ratio", draft.position_BE)
        ok_BE = coin_BE * _at(q_BEV, draft.token_BE) <= _at(p_BEV, draft.token_BE)
        rest_BEV = (p_BEV - q_BEV).clamp_min(0)
        return Verdict(ok_BE=ok_BE, token_BE=_draw(rest_BEV, p_BEV, draft, start))


@attrs.frozen
class PointMass(Judge):
    """Pass a guess with probability p(t); else draw from p without it.

    The right test for guesses that were not drawn: tables, paths of a search, arg-maxima.
    Source: speculative sampling (arXiv:2211.17192) with a drafter that is certain.
    """

    name = "point-mass"
    need = Need(logits=True)
    exact = True
    replaces = True

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """One coin and one replacement for each entry."""
        p_BEV = _law(evidence)
        coin_BE = start.noise.uniform_BP("point-mass", draft.position_BE)
        ok_BE = coin_BE <= _at(p_BEV, draft.token_BE)
        rest_BEV = p_BEV.scatter(-1, draft.token_BE[..., None], 0.0)
        return Verdict(ok_BE=ok_BE, token_BE=_draw(rest_BEV, p_BEV, draft, start))


@attrs.frozen
class Recursive(Judge):
    """Try brothers one after the other, each against what the ones before it have left of p.

    The k-th passes with probability p_k(t)/q_k(t); then p is cut by q, and q loses t.  Brothers
    are drawn without replacement.
    Source: recursive speculative decoding (arXiv:2402.14160).
    """

    name = "recursive"
    families = True
    need = Need(logits=True)
    laws = True
    exact = True
    drawn = True
    replaces = True

    brothers: int = option(4, doc="most brothers that a node may have", check=at_least(1))

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """One coin for each entry, and one replacement for each family."""
        p_BEV, q_BEV = _law(evidence), _drafted(draft)
        parent_BE = draft.of_nodes(draft.parent_BD)
        family_BEE = (parent_BE[:, :, None] == parent_BE[:, None]) & draft.valid_BE[:, None]
        itself_EE = torch.ones_like(family_BEE[0]).tril(-1)
        turn_BE = (family_BEE & itself_EE).sum(dim=2)  # brothers before it
        ok_BE = torch.zeros_like(draft.valid_BE)
        for turn in range(self.brothers):
            coin_BE = start.noise.uniform_BP(f"recursive-{turn}", draft.position_BE)
            up_BE = (turn_BE == turn) & draft.valid_BE
            fair_BE = coin_BE * _at(q_BEV, draft.token_BE) <= _at(p_BEV, draft.token_BE)
            ok_BE = ok_BE | (up_BE & fair_BE)
            called_BEE = family_BEE & up_BE[:, None]
            asked_B1E = called_BEE.int().argmax(dim=2)
            token_BE = draft.token_BE.gather(1, asked_B1E)
            asked_BE1 = called_BEE.any(dim=2)[..., None]
            p_BEV = torch.where(asked_BE1, _norm((p_BEV - q_BEV).clamp_min(0), p_BEV), p_BEV)
            without_BEV = q_BEV.scatter(-1, token_BE[..., None], 0.0)
            q_BEV = torch.where(asked_BE1, _norm(without_BEV, q_BEV), q_BEV)
        # The first that passes ends its family's turn, whatever a brother's children may promise.
        ok_BE = ok_BE & ~(family_BEE & itself_EE & ok_BE[:, None]).any(dim=2)
        return Verdict(ok_BE=ok_BE, token_BE=_draw(p_BEV, p_BEV, draft, start))


def _law(evidence: Evidence) -> Tensor:
    law_BEV = evidence.law_BEV
    if law_BEV is None:
        raise StrategyError(
            "the judge compares with the law that the verifier draws from, and it draws nothing",
            hint="use `sample: categorical` in the verifier, or the judge `greedy`",
        )
    return law_BEV.exp()


def _drafted(draft: Draft) -> Tensor:
    if draft.law_BEV is None:
        raise StrategyError(
            "the judge reads the laws that guesses were drawn from, and this drafter has none",
            hint="draft with model-steps and `sample: categorical`, or judge by `point-mass`",
        )
    return draft.law_BEV.double().exp()


def _at(law_BEV: Tensor, token_BE: Tensor) -> Tensor:
    return law_BEV.gather(-1, token_BE[..., None])[..., 0]


def _norm(weight_BEV: Tensor, otherwise_BEV: Tensor) -> Tensor:
    """The weights as a law; `otherwise` where nothing is left."""
    sum_BE1 = weight_BEV.sum(dim=-1, keepdim=True)
    return torch.where(sum_BE1 > 0, weight_BEV / sum_BE1, otherwise_BEV)


def _draw(weight_BEV: Tensor, otherwise_BEV: Tensor, draft: Draft, start: Round) -> Tensor:
    """A token for each entry by the Gumbel-max rule; equal at equal positions."""
    law_BEV = _norm(weight_BEV, otherwise_BEV)
    noise_BEV = start.noise.gumbel_BPV("residual", draft.position_BE, law_BEV.shape[-1])
    return (law_BEV.log() + noise_BEV).argmax(dim=-1)
