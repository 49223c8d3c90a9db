"""A judge that asks drafter and verifier together.

Legend: B rows, E entries, V vocabulary.
"""

from __future__ import annotations

import attrs
from torch import Tensor

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.evidence import Evidence
from dlmkit.draft_verify.roles import Judge
from dlmkit.draft_verify.round import Round
from dlmkit.draft_verify.verdict import Verdict
from dlmkit.errors import StrategyError
from dlmkit.need import Need

__all__ = ["CoupledMixture", "Mixture"]


@attrs.frozen
class Mixture(Judge):
    """Pass a guess if it is the best token of both laws mixed: share x drafter + rest x verifier.

    Log-probabilities are mixed; ties go to the lowest token.  With share 1 everything passes that
    the drafter thinks best, with share 0 what the verifier does.
    Source: adaptive parallel decoding (arXiv:2506.00413), R, as its code decides: without the
    noise that couples the two draws in the paper.
    """

    name = "mixture"
    need = Need(logits=True)
    laws = True

    share: float = option(0.7, doc="weight of the drafter's law", check=(at_least(0), at_most(1)))

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Compare with the best of the mixture.

        Raises:
            StrategyError: the drafter has no distributions.
        """
        best_BE = self._mixed(draft, evidence).argmax(dim=-1)
        return Verdict(ok_BE=draft.token_BE == best_BE, token_BE=best_BE)

    def _mixed(self, draft: Draft, evidence: Evidence) -> Tensor:
        """Both laws, weighted, `mixed_BEV`."""
        logits_BEV = evidence.entry.logits_BPV
        assert logits_BEV is not None  # noqa: S101 - declared in `need`
        if draft.law_BEV is None:
            raise StrategyError(
                f"judge {self.name!r} reads the drafter's distributions, and this drafter has none",
                hint="draft with model-steps, or use another judge",
            )
        verifier_BEV = evidence.law_BEV
        if verifier_BEV is None:
            verifier_BEV = logits_BEV.double().log_softmax(dim=-1)
        drafter_BEV = draft.law_BEV.double().clamp_min(_LEAST)
        return self.share * drafter_BEV + (1 - self.share) * verifier_BEV.clamp_min(_LEAST)


@attrs.frozen
class CoupledMixture(Mixture):
    """Pass a guess that a draw from both laws mixed comes to with the noise of its own draw.

    The guess is the largest of the drafter's log-probabilities plus Gumbel noise; here the same
    noise is added to the mixture.  With share 1 everything passes, and the nearer the two laws,
    the more does.
    Source: adaptive parallel decoding (arXiv:2506.00413), the coupling of its paper.
    """

    name = "mixture-gumbel"
    coupled = True

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Draw from the mixture with each guess's own noise.

        Raises:
            StrategyError: the drafter has no distributions, or draws from them in another way.
        """
        mixed_BEV = self._mixed(draft, evidence)
        if draft.noise_BEV is None:
            raise StrategyError(
                f"judge {self.name!r} reads the noise that guesses were drawn with, and this "
                "drafter tells none",
                hint="draft with model-steps and `sample: categorical`, or judge by `mixture`",
            )
        drawn_BE = (mixed_BEV + draft.noise_BEV).argmax(dim=-1)
        return Verdict(ok_BE=draft.token_BE == drawn_BE, token_BE=drawn_BE)


_LEAST = -1e9
"""Stands for a token that is ruled out, so that a weight of 0 leaves it out of account."""
