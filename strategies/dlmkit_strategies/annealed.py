"""A confidence whose noise dies down while a row is filled.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import ConfidenceScorer
from dlmkit.view import View

__all__ = ["Annealed"]


@attrs.frozen
class Annealed(ConfidenceScorer):
    """Log-probability in nats of the proposal plus Gumbel noise that shrinks to nothing.

    The noise is multiplied by randomness x (1 - i / (S - 1)), where i of the row's S masks are
    decided.  The distribution is the filtered one.
    Source: confidence sampling of GenMol (arXiv:2501.06158), r; there S is that of the longest row.
    """

    name = "annealed"
    stochastic = True
    need = Need(top=2, logits=True)

    randomness: float = option(2.0, doc="factor of the noise at the start", check=at_least(0))

    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Float64; without noise in nats."""
        masks_B = view.canvas.initial_masks_B
        decided_B = masks_B - view.canvas.masked_BN.sum(dim=1)
        left_B = 1.0 - decided_B.double() / (masks_B - 1).clamp_min(1)
        noise_BP = self.randomness * left_B.clamp_min(0.0)[:, None] * view.gumbel_BP(self.name)
        return prediction.filtered.logp_of(tokens_BP).double() + noise_BP
