"""Confidence scorers: how sure the network is of each proposal; larger is surer.

Legend: B rows, P window positions, K kept candidates.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import ConfidenceScorer, ScoreSpace
from dlmkit.view import View
from dlmkit_strategies.kernels import ends_text

__all__ = ["Demote", "Margin", "NegativeEntropy", "Perturbed", "Probability", "RandomOrder"]

Of = Literal["raw", "filtered"]
_OF = "which distribution: before or after temperature, top-p and top-k"


def _read(prediction: Prediction, of: Of) -> Prediction:
    return prediction.filtered if of == "filtered" else prediction


@attrs.frozen
class Probability(ConfidenceScorer):
    """Probability of the proposed token.

    Source: LLaDA (arXiv:2502.09992), there `remasking="low_confidence"`; Dream's `maskgit_plus`
    with `of: filtered`; MaskGIT (arXiv:2202.04200).
    """

    name = "probability"
    need = Need(top=2)
    space = "probability"

    of: Of = option("raw", doc=_OF)

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Exponential of the proposal's log-probability, in [0, 1]."""
        return _read(prediction, self.of).logp_of(tokens_BP).exp()


@attrs.frozen
class Margin(ConfidenceScorer):
    """Probability of the best token minus that of the second best, in [0, 1].

    Source: Dream (arXiv:2508.15487), there `topk_margin`; arXiv:2502.06768.
    """

    name = "margin"
    need = Need(top=2)
    space = "probability"

    of: Of = option("raw", doc=_OF)

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Difference of the two largest probabilities."""
        top_BPK = _read(prediction, self.of).pack.top_logp_BPK[..., :2].exp()
        return top_BPK[..., 0] - top_BPK[..., 1]


@attrs.frozen
class NegativeEntropy(ConfidenceScorer):
    """Negative entropy of the distribution in nats, 0 or below.

    Source: Dream (arXiv:2508.15487), there `entropy`.
    """

    name = "entropy"
    need = Need(entropy=True)
    space = "nats"

    of: Of = option("raw", doc=_OF)

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Minus the entropy."""
        entropy_BP = _read(prediction, self.of).pack.entropy_BP
        assert entropy_BP is not None  # noqa: S101 - declared in `need`
        return -entropy_BP


@attrs.frozen
class RandomOrder(ConfidenceScorer):
    """A uniform random number: positions are decided in random order.

    Source: LLaDA (arXiv:2502.09992), there `remasking="random"`.
    """

    name = "random"
    space = "rank"
    stochastic = True

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """One number in (0, 1) for each position, keyed by seed, sample, step and position."""
        return view.uniform_BP(self.name)


@attrs.frozen
class Perturbed(ConfidenceScorer):
    """Another score divided by a temperature plus Gumbel noise: positions drawn, not ranked.

    Taking the best k is then a draw of k positions without replacement from
    softmax(score / temperature).  Source: Dream's `alg_temp` (arXiv:2508.15487).
    """

    name = "perturbed"
    space = "rank"
    stochastic = True

    of: ConfidenceScorer = option(doc="the score that is perturbed")
    temperature: float = option(doc="larger is more random", check=above(0), examples=(0.1, 0.5))

    def needs(self) -> Need:
        """What the perturbed score needs."""
        return self.of.needs()

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Score / temperature + Gumbel noise, float64."""
        base_BP = self.of.score(tokens_BP, prediction, view).double()
        return base_BP / self.temperature + view.gumbel_BP(self.name)


@attrs.frozen
class Demote(ConfidenceScorer):
    """Another score, with end-of-text proposals ranked last.

    Instruction-tuned LLaDA floods its answers with end tokens in pure diffusion mode; this keeps
    them from being decided first.  Source: LLaDA's `confidence_eos_eot_inf`; unlike the published
    code it treats both tokens alike at every temperature (ML-GSAI/LLaDA issue 137).
    """

    name = "demote"

    of: ConfidenceScorer = option(doc="the score that is changed")

    def needs(self) -> Need:
        """What the changed score needs."""
        return self.of.needs()

    def score_space(self) -> ScoreSpace:
        """The unit of the changed score."""
        return self.of.score_space()

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Minus infinity where the proposal ends the text or the turn."""
        score_BP = self.of.score(tokens_BP, prediction, view)
        return score_BP.masked_fill(ends_text(tokens_BP, view.info), -torch.inf)
