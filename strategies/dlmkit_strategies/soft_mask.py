"""Soft masks: an undecided position is fed what was predicted there, in part.

Legend: B rows, N canvas positions, P window positions, K mixed tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import StateField, option
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit.roles import InputTransform, Mixture
from dlmkit.view import View
from dlmkit_strategies.positions import write

__all__ = ["SoftMask"]

MIXED = 3
"""Tokens in a mixture, as published."""


@attrs.frozen
class SoftMask(InputTransform):
    """Feed masks the embeddings of the three best predictions of the step before, in part.

    A mask keeps the share 1 - l of its embedding; the rest goes to the three most probable tokens
    by their probabilities, with l = strength x sigmoid(slope x (-H - offset)) and H the entropy in
    nats of the last prediction there.  Nothing is mixed in before a position was predicted, nor
    after it was taken back.
    Source: soft-masking (arXiv:2510.17206), whose omega_s, omega_a and omega_b are trained together
    with the network, from 0 for the first; a network that was not trained with them reads inputs
    that it has never seen.
    """

    name = "soft-mask"
    need = Need(top=MIXED, entropy=True)
    span = "region"
    history = True
    requires = frozenset({"mixed-inputs"})
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("ids", "int64", 0, dims="BNK", size=MIXED),
        StateField("weights", "float32", 0, dims="BNK", size=MIXED),
    )

    strength: float = option(
        0.5, doc="largest share of predictions (omega_s); 0: none", check=(at_least(0), at_most(1))
    )
    slope: float = option(
        10.0, doc="how sharply the share depends on entropy (omega_a)", check=above(0)
    )
    offset: float = option(-0.75, doc="minus the entropy of half the share, in nats (omega_b)")

    def apply(self, ids_BN: Tensor, view: View) -> Tensor:
        """The tokens stay."""
        return ids_BN

    def mix(self, view: View) -> Mixture:
        """What was predicted, where a mask still stands."""
        memory = view.recall(self)
        masked_BN1 = view.canvas.masked_BN[..., None]
        return Mixture(memory["ids"], memory["weights"] * masked_BN1)

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """The best tokens of this step and their shares."""
        view, pack = outcome.view, outcome.prediction.pack
        memory = view.recall(self)
        assert pack.entropy_BP is not None  # noqa: S101 - declared in `need`
        share_BP = self.strength * (self.slope * (-pack.entropy_BP - self.offset)).sigmoid()
        weights_BPK = pack.top_logp_BPK[..., :MIXED].softmax(dim=-1) * share_BP[..., None]
        ids_BPK = pack.top_ids_BPK[..., :MIXED]
        return {
            "ids": write(memory["ids"], ids_BPK, view.inside_BP, view),
            "weights": write(memory["weights"], weights_BPK, view.inside_BP, view),
        }
