"""Latent states of a looped network, which refines them by running its core again and again.

Legend: B rows, N positions (of the canvas, or those that are fed), Q fed positions, D latent size.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

__all__ = ["Latents"]


@attrs.frozen(kw_only=True, eq=False)
class Latents:
    """The latent states of some positions, and how often a pass refines them.

    `state_BND` in the network's dtype; `condition_BND` what the layers before the core gave for
    the tokens of earlier passes; `kept_BN`, float, the share of it that is mixed into what they
    give in this pass (0 where there was none).  `recurrences` is how often the core runs.
    """

    state_BND: Tensor
    condition_BND: Tensor
    kept_BN: Tensor
    recurrences: int

    def fed(self, feed_BQ: Tensor) -> Latents:
        """Those of the fed positions, in their order."""
        index_BQD = feed_BQ[..., None].expand(-1, -1, self.state_BND.shape[-1])
        return attrs.evolve(
            self,
            state_BND=self.state_BND.gather(1, index_BQD),
            condition_BND=self.condition_BND.gather(1, index_BQD),
            kept_BN=self.kept_BN.gather(1, feed_BQ),
        )

    def updated(self, after: Latents, place_BN: Tensor) -> Latents:
        """With what a pass gave, by the place of each position in it (-1: it was not fed)."""
        found = after.fed(place_BN.clamp_min(0))
        fed_BN1 = (place_BN >= 0)[..., None]
        return attrs.evolve(
            self,
            state_BND=torch.where(fed_BN1, found.state_BND, self.state_BND),
            condition_BND=torch.where(fed_BN1, found.condition_BND, self.condition_BND),
        )
