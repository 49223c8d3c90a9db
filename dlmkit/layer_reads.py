"""Reading other slots of the store in each layer.

Legend: B rows, N canvas positions (store slots), Q fed positions, C slots that are read, Y layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dlmkit.errors import EngineError

if TYPE_CHECKING:
    from dlmkit.models.arch import AttentionPattern
    from dlmkit.network import KeyValues
    from dlmkit.plan import Plan
    from dlmkit.store import Store

__all__ = ["narrowed"]


def narrowed(
    past_B1QN: Tensor, plan: Plan, store: Store, pattern: AttentionPattern
) -> tuple[KeyValues, Tensor]:
    """Gather what each layer reads; return it with the mask over as many slots, `past_B1QC`.

    The network reads gathered keys like any others: they carry their positions in themselves, and
    one mask serves all layers, because a row reads as many slots in each.  The store may hold
    several variants of the rows.

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
    read_BN1 = past_B1QN.any(dim=2)[:, 0, :, None]
    reads_YBN = (plan.layers_BNY & read_BN1).permute(2, 0, 1)
    order_YBN = reads_YBN.int().argsort(dim=-1, descending=True, stable=True)
    slots_YBC = order_YBN[..., : plan.layers_width]
    places_C = torch.arange(slots_YBC.shape[-1], device=slots_YBC.device)
    within_BC = places_C < reads_YBN[0].sum(dim=-1, keepdim=True)
    reading_B1Q1 = past_B1QN.any(dim=-1, keepdim=True)
    variants = len(store.tag_BN) // len(past_B1QN)
    return store.picked(slots_YBC.repeat(1, variants, 1)), reading_B1Q1 & within_BC[:, None, None]
