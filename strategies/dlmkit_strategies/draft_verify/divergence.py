"""A judge of distributions: how far drafter and verifier are apart.

Legend: B rows, E entries, V vocabulary.
"""

from __future__ import annotations

from typing import Literal

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

__all__ = ["Divergence"]


@attrs.frozen
class Divergence(Judge):
    """Pass a guess if the drafter's distribution there is close to the verifier's, in nats.

    Drafter d, verifier v: `forward` is KL(d | v), `reverse` KL(v | d), `symmetric` the
    Jensen-Shannon divergence.  The paper does not say which; the default is that of an
    independent implementation.  Source: DualDiffusion (arXiv:2604.05250), KL divergence check.
    """

    name = "kl"
    need = Need(logits=True)
    laws = True

    threshold: float = option(0.5, doc="largest divergence that passes (eta)", check=at_least(0))
    direction: Literal["forward", "reverse", "symmetric"] = option(
        "forward", doc="what is measured from what"
    )

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Compare the two laws at each entry.

        Raises:
            StrategyError: the drafter does not tell its laws.
        """
        logits_BEV = evidence.entry.logits_BPV
        assert logits_BEV is not None  # noqa: S101 - declared in `need`
        if draft.law_BEV is None:
            raise StrategyError(
                "judge 'kl' reads the drafter's distributions, and this drafter has none",
                hint="draft with model-steps, or use another judge",
            )
        verifier_BEV = logits_BEV.to(draft.law_BEV.dtype).log_softmax(dim=-1)
        apart_BE = self._apart(draft.law_BEV, verifier_BEV)
        return Verdict(ok_BE=apart_BE <= self.threshold, token_BE=evidence.choice_BE)

    def _apart(self, drafter_BEV: Tensor, verifier_BEV: Tensor) -> Tensor:
        if self.direction == "forward":
            return _kl(drafter_BEV, verifier_BEV)
        if self.direction == "reverse":
            return _kl(verifier_BEV, drafter_BEV)
        middle_BEV = torch.logaddexp(drafter_BEV, verifier_BEV) - torch.log(
            torch.tensor(2.0, dtype=drafter_BEV.dtype)
        )
        return (_kl(drafter_BEV, middle_BEV) + _kl(verifier_BEV, middle_BEV)) / 2


def _kl(one_BEV: Tensor, other_BEV: Tensor) -> Tensor:
    """KL(one | other) of log-probabilities; what the first rules out counts as nothing."""
    parts_BEV = one_BEV.exp() * (one_BEV - other_BEV)
    return torch.where(one_BEV == -torch.inf, 0, parts_BEV).sum(dim=-1)
