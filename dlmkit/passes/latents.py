"""Latent states of a looped network, which refines them by running its core again and again.

Legend: B rows, N positions (of the canvas, or those that are fed), P wanted positions, Q fed
positions, D latent size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit.passes.fed import Fed
from dlmkit.passes.inputs import inputs_of
from dlmkit.passes.keeping import keep
from dlmkit.prediction import Prediction

if TYPE_CHECKING:
    from dlmkit.canvas import Canvas
    from dlmkit.need import Need
    from dlmkit.passes.plan import Plan
    from dlmkit.passes.session import Session

__all__ = ["Latents", "refine"]


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


def refine(
    session: Session,
    ids_BN: Tensor,
    canvas: Canvas,
    positions_BP: Tensor,
    plan: Plan,
    need: Need,
    required_BP: Tensor,
    latents: Latents,
) -> tuple[Prediction, Latents]:
    """Run one pass that refines the latents of the positions that the plan computes.

    Raises:
        EngineError: as `Session.predict` does, or the network has no latents.
    """
    info, columns = session.info, ids_BN.shape[1]
    if "latents" not in info.capabilities:
        raise EngineError(
            f"the engine '{info.engine}' cannot refine latents of this model",
            hint="use a looped model, on the torch engine without `compile`",
        )
    fed = Fed.of(session, plan, positions_BP, columns, required_BP)
    inputs = inputs_of(session, fed, ids_BN, canvas, need)
    given = attrs.evolve(inputs, latents=latents.fed(fed.feed_RQ))
    output = session.run(given, need, fed.plan)
    keep(session, output, fed.plan, ids_BN, inputs.ids_BQ)
    assert output.latents is not None  # noqa: S101 - the network was fed some
    prediction = Prediction(pack=output.pack, logits_BPV=output.logits_BSV)
    return prediction, latents.updated(output.latents, fed.plan.places_BN(columns))
