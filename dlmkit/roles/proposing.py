"""Roles that read a prediction: edit the distribution, propose tokens, rate them.

Legend: B rows, P window positions, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from dlmkit.need import Need
from dlmkit.roles.strategy import Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.prediction import Prediction
    from dlmkit.view import View

__all__ = ["ConfidenceScorer", "LogitsTransform", "ScoreSpace", "TokenSampler"]

ScoreSpace = Literal["probability", "nats", "logit", "rank", "unbounded"]
"""The unit of a confidence: probability in [0, 1]; nats (0 or below, larger is surer); a
difference of logits; a rank that only orders; anything else."""


class LogitsTransform(Strategy):
    """Edits the distribution.

    `stage` says who sees the result: `"score"` everybody; `"sampling"` only the token sampler,
    and scorers that ask for the filtered distribution.
    """

    role = "logits"
    need = Need(logits=True)
    stage: ClassVar[Literal["score", "sampling"]] = "score"

    @abstractmethod
    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Return new logits of the same shape."""


class TokenSampler(Strategy):
    """Proposes a token for each position."""

    role = "sample"

    @abstractmethod
    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """Return `tokens_BP` int64, read from `prediction.filtered`."""

    def law(self, prediction: Prediction, view: View) -> Tensor | None:
        """Log-probabilities of its proposals, `logp_BPV` float64; None: they are not drawn."""
        return None

    def noise(self, prediction: Prediction, view: View) -> Tensor | None:
        """Gumbel numbers, `noise_BPV` float64: its proposals are the largest of law plus noise.

        None: they are not drawn, or in another way.
        """
        return None


class ConfidenceScorer(Strategy):
    """Rates proposals; larger is surer.  `space` is the unit of its scores."""

    role = "confidence"
    space: ClassVar[ScoreSpace] = "unbounded"

    @abstractmethod
    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Return `confidence_BP`, float32 or float64."""

    def score_space(self) -> ScoreSpace:
        """The unit of this object's scores; by default that of its class."""
        return self.space
