"""Reading other slots of the store in each layer.

Legend: B rows, N canvas positions (store slots), Q fed positions, C slots that are read, Y layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit.network import KeyValues

if TYPE_CHECKING:
    from dlmkit.key_values.store import Store
    from dlmkit.models.arch import AttentionPattern
    from dlmkit.passes.plan import Plan

__all__ = ["LayerReads", "strays"]


@attrs.frozen(eq=False)
class LayerReads:
    """What each layer reads of a store, gathered: once for as long as neither of them changes.

    `layers_BNY` is what was asked for, by identity; `changes` how often the store had been changed;
    `within_BC` which of the gathered slots count.
    """

    layers_BNY: Tensor
    store: Store
    changes: int
    content: KeyValues
    within_BC: Tensor

    @classmethod
    def of(cls, plan: Plan, store: Store, pattern: AttentionPattern) -> LayerReads:
        """Gather what a plan's layers read.

        The network reads gathered keys like any others: they carry their positions in themselves,
        and one mask serves all layers, because a row reads as many slots in each.  The store may
        hold several variants of the rows.

        Raises:
            EngineError: what a query may see depends on where the keys are.
        """
        if pattern.kind != "full" or plan.prefix_B is not None:
            raise EngineError(
                "layers cannot read different positions where what is seen depends on the place "
                f"({pattern.kind} attention, or a prompt that does not see the answer)",
                hint="use another cache policy, such as block-causal",
            )
        assert plan.layers_BNY is not None  # noqa: S101 - the caller has checked
        reads_YBN = plan.layers_BNY.permute(2, 0, 1)
        order_YBN = reads_YBN.int().argsort(dim=-1, descending=True, stable=True)
        slots_YBC = order_YBN[..., : plan.layers_width]
        places_C = torch.arange(slots_YBC.shape[-1], device=slots_YBC.device)
        variants = len(store.tag_BN) // reads_YBN.shape[1]
        return cls(
            layers_BNY=plan.layers_BNY,
            store=store,
            changes=store.changes,
            content=store.picked(slots_YBC.repeat(1, variants, 1)),
            within_BC=places_C < reads_YBN[0].sum(dim=-1, keepdim=True),
        )

    def hold(self, plan: Plan, store: Store) -> bool:
        """Whether a plan's layers read the very same."""
        same = store is self.store and store.changes == self.changes
        return same and plan.layers_BNY is self.layers_BNY

    def mask(self, past_B1QN: Tensor) -> Tensor:
        """Which of the gathered slots each query sees, `past_B1QC`: all, if it reads any."""
        return past_B1QN.any(dim=-1, keepdim=True) & self.within_BC[:, None, None]


def strays(plan: Plan, past_B1QN: Tensor) -> Tensor:
    """Rows whose layers read what the plan leaves out, though they read something, `[B]` bool."""
    assert plan.layers_BNY is not None  # noqa: S101 - the caller has checked
    read_BN = past_B1QN.any(dim=2)[:, 0]
    outside_BN = plan.layers_BNY.any(dim=-1) & ~read_BN
    return read_BN.any(dim=1) & outside_BN.any(dim=1)
