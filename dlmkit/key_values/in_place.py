"""Networks that write into their cache, which spares copies and asks more of a plan.

In every pass such a network gets the whole room of the store, as `past`, and leaves the fresh
keys and values of the fed positions in their slots, where its queries read them.  What a plan does
not keep is written too, so those slots are forgotten; so are those of filler, which gets the slots
after the positions that a row computes.  Which plans an engine can run is for it to say: one that
writes a run of slots in each row refuses others.

Legend: B rows, Q fed positions, C cache slots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit.network import NetworkOutput

if TYPE_CHECKING:
    from dlmkit.host.kept import Kept
    from dlmkit.key_values.store import Store
    from dlmkit.need import Need
    from dlmkit.network import Network, NetworkInfo, NetworkInputs
    from dlmkit.passes.plan import Plan

__all__ = [
    "WritingNetwork",
    "lost_reads",
    "over_the_store",
    "places_BQ",
    "refusal",
    "refuse_strangers",
]

_ORDINARY = (
    "use a network that only reads its cache: the torch engine, or one compiled without that option"
)


class WritingNetwork:
    """A network that only reads its cache, made to write into it: any slots, in any order."""

    def __init__(self, inner: Network, slots: int) -> None:
        self.inner = inner
        self.info = attrs.evolve(inner.info, cache_slots=slots)

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run the pass, then write what it has computed."""
        output = self.inner.forward(inputs, need)
        past, fresh = inputs.past, output.fresh
        assert past is not None and fresh is not None  # noqa: S101, PT018 - one in place, one not
        rows_B1 = torch.arange(len(inputs.ids_BQ), device=inputs.ids_BQ.device)[:, None]
        for room, new in (
            (past.keys_YBGCE, fresh.keys_YBGCE),
            (past.values_YBGCE, fresh.values_YBGCE),
        ):
            room.transpose(2, 3)[:, rows_B1, inputs.positions_BQ] = new.transpose(2, 3)
        return attrs.evolve(output, fresh=None)


def places_BQ(plan: Plan, kept: Kept) -> Tensor:
    """The slot of every fed position; filler gets those after what its row computes."""
    return kept.of("places", (plan,), lambda: _places(plan))


def over_the_store(inputs: NetworkInputs, plan: Plan, store: Store, kept: Kept) -> NetworkInputs:
    """The inputs of a pass that reads and writes the room of a store."""
    mask, fed = inputs.mask_past_B1QC, inputs.ids_BQ.shape
    slots = store.room.keys_YBGCE.shape[3]
    times = fed[0] // len(plan.feed_BQ)
    places = places_BQ(plan, kept)
    return attrs.evolve(
        inputs,
        positions_BQ=places if times == 1 else places.repeat(times, 1),
        past=store.content,
        mask_past_B1QC=kept.of(
            "whole room", (mask, *fed, slots), lambda: _whole_mask(inputs, slots)
        ),
    )


def refuse_strangers(info: NetworkInfo, plan: Plan, rows: int, store: Store) -> None:
    """Refuse passes whose keys and values do not belong in the slots of their positions.

    Raises:
        EngineError: says what is fed or read besides.
    """
    strangers = {
        "shadows": plan.shadow_BH is not None,
        "layers that read different positions": plan.layers_BNY is not None,
        "several inputs over one cache": rows != len(store.tag_BN),
    }
    for what, found in strangers.items():
        if found:
            raise refusal(info, what)


def refusal(info: NetworkInfo, what: str) -> EngineError:
    """What to raise where keys and values have no slot of their own."""
    return EngineError(
        f"the network on engine '{info.engine}' writes into its cache, which does not go with "
        f"{what}",
        hint=_ORDINARY,
    )


def lost_reads(info: NetworkInfo) -> EngineError:
    """What to raise where a plan reads slots that a pass has written and not kept."""
    return EngineError(
        f"the network on engine '{info.engine}' writes into its cache, and has written over "
        "positions that the cache policy's plan reads",
        hint=_ORDINARY,
    )


def _places(plan: Plan) -> Tensor:
    feed_BQ = plan.feed_BQ
    if plan.feed_valid_BQ is None:
        return feed_BQ
    run_BQ = feed_BQ[:, :1] + torch.arange(feed_BQ.shape[1], device=feed_BQ.device)
    return torch.where(plan.feed_valid_BQ, feed_BQ, run_BQ)


def _whole_mask(inputs: NetworkInputs, slots: int) -> Tensor:
    """What is seen of all slots in memory, of which some may be unused."""
    given = inputs.mask_past_B1QC
    if given is not None:
        return torch.nn.functional.pad(given, (0, slots - given.shape[3]))
    rows, fed = inputs.ids_BQ.shape
    return torch.zeros((rows, 1, fed, slots), dtype=torch.bool, device=inputs.ids_BQ.device)
