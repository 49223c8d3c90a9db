"""A cache that is renewed from the layer on where attention has drifted.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import Literal

import attrs
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.passes.layer_steps import Drift, LayerSteps
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import columns_1N, decided, predicting, working

__all__ = ["ElasticCache"]


@attrs.frozen
class ElasticCache(CachePolicy):
    """Compute a window that slides with the first masks; renew the rest layer by layer if need be.

    The window is the first `window` masks from the block on, and what was decided last; only its
    masks are predicted.  In each layer its queries attend to some known token most.  Where what
    they give to it is no longer like what they gave in the pass before, by a cosine below
    `likeness`, every layer behind computes everything, each row for itself.
    Source: Elastic-Cache (arXiv:2510.14973), beta and gamma, after the paper's text: no public code
    could be compared.  Attention is taken as its mean over the heads, queries that are new to the
    window are left out of the comparison, and above 1 everything is computed in every layer.
    """

    name = "elastic-cache"
    by_layer = True
    requires = frozenset({"layer-steps"})

    window: int = option(16, doc="masks computed in a step (beta)", check=at_least(1))
    likeness: float = option(
        0.9, doc="cosine below which the rest is renewed (gamma); 0: never", check=at_least(0)
    )

    def plan(self, view: View) -> Plan:
        """The window; everything in the first step."""
        masked_BN = self._masks(view)
        fresh_BN = decided(view) & (view.canvas.commit_step_BN == view.step - 1)
        ahead_BN = predicting(view, masked_BN)
        window_BN = (masked_BN | ahead_BN | fresh_BN) & working(view)
        whole = self.exact() or not view.step
        steps = LayerSteps(
            refresh_BN=working(view) if whole else window_BN,
            drift=Drift(
                watch_BN=window_BN,
                among_BN=decided(view),
                restart_BN=working(view),
                bound=self.likeness,
            ),
            predict_BN=ahead_BN,
        )
        return attrs.evolve(Plan.full(view.tokens_BN), whole=False, layer_steps=steps)

    def _masks(self, view: View) -> Tensor:
        """The first masks of each row from its block on."""
        later_BN = columns_1N(view) >= view.block.start_B[:, None]
        masked_BN = view.canvas.masked_BN & view.canvas.inside_BN & later_BN
        return masked_BN & (masked_BN.cumsum(dim=1) <= self.window)

    def provides(self) -> Literal["some"]:
        """The masks of the window."""
        return "some"

    def freezes(self) -> Literal["tokens", "nothing"]:
        """What lies outside the window, as long as attention does not drift."""
        return "nothing" if self.exact() else "tokens"

    def exact(self) -> bool:
        """Only if everything is computed in every step."""
        return self.likeness > 1
