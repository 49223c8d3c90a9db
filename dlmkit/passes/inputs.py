"""What a network is given in a pass: tokens, what they see, and what is read of the store.

Legend: B rows, N canvas positions (store slots), Q fed positions, S wanted rows, R = B x variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dlmkit.errors import EngineError
from dlmkit.key_values.in_place import lost_reads, over_the_store, refuse_strangers
from dlmkit.key_values.layer_reads import LayerReads, strays
from dlmkit.network import KeyValues, NetworkInputs
from dlmkit.passes.abilities import noise_level
from dlmkit.passes.fed import Fed, Sight
from dlmkit.passes.variants import repeated

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.canvas import Canvas
    from dlmkit.key_values.store import Store
    from dlmkit.need import Need
    from dlmkit.passes.plan import Plan
    from dlmkit.passes.session import Session

__all__ = ["content_of", "inputs_of", "refuse_empty_reads", "shown"]


def shown(session: Session, ids_RN: Tensor, canvas: Canvas) -> Tensor:
    """The ids that are fed for a canvas."""
    mask_id = session.info.mask_id
    if canvas.mask_id == mask_id:
        return ids_RN
    # A network without a mask token is fed any other: what matters does not see it.
    return torch.where(ids_RN == canvas.mask_id, mask_id or 0, ids_RN)


def inputs_of(
    session: Session,
    fed: Fed,
    ids_RN: Tensor,
    canvas: Canvas,
    need: Need,
    current_RS: Tensor | None = None,
) -> NetworkInputs:
    """The inputs of a pass over canvases that are shown as `ids_RN`.

    Raises:
        EngineError: in a checked session, the plan reads what was never stored.
    """
    plan, times = fed.plan, fed.variants
    sight = Sight.of(session, plan, canvas, times)
    past_R1QC, content = sight.past_R1QN, None
    if sight.past_B1QN is not None and past_R1QC is not None:
        if session.checked:
            refuse_empty_reads(session, past_R1QC)
        if plan.layers_BNY is None:
            content = content_of(session, ids_RN)
        else:
            session.reads = _layer_reads(session, plan, sight.past_B1QN, session.room(ids_RN))
            content = session.reads.content
            past_R1QC = repeated(session.reads.mask(sight.past_B1QN), times)
    watch_BQ = plan.watch_BQ if "relevance" in need.taps else None
    inputs = NetworkInputs(
        ids_BQ=fed.of_canvas(ids_RN),
        positions_BQ=fed.feed_RQ,
        want_BS=fed.rows_RP,
        mask_new_B1QQ=sight.new_R1QQ,
        past=content,
        mask_past_B1QC=past_R1QC,
        current_BS=current_RS,
        watch_BQ=None if watch_BQ is None else repeated(watch_BQ, times),
        noise_B=noise_level(session.info, canvas, times),
    )
    if session.info.cache_slots is None:
        return inputs
    store = session.room(ids_RN)
    refuse_strangers(session.info, plan, len(ids_RN), store)
    return over_the_store(inputs, plan, store, session.kept)


def content_of(session: Session, ids_RN: Tensor) -> KeyValues:
    """What is stored, for every canvas; several may share one store."""
    store = session.room(ids_RN)
    times = ids_RN.shape[0] // store.tag_BN.shape[0]
    if times == 1:
        return store.content
    keys, values = store.content.keys_YBGCE, store.content.values_YBGCE
    return KeyValues(
        keys_YBGCE=keys.repeat(1, times, 1, 1, 1), values_YBGCE=values.repeat(1, times, 1, 1, 1)
    )


def refuse_empty_reads(session: Session, past_R1QN: Tensor) -> None:
    """Refuse to read what was never stored.

    Raises:
        EngineError: says what to do.
    """
    tag_BN = None if session.store is None else session.store.tag_BN
    parts = past_R1QN, tag_BN
    if not session.kept.of("empty", parts, lambda: _reads_empty(past_R1QN, session.store)):
        return
    if session.info.cache_slots is not None:
        raise lost_reads(session.info)
    raise EngineError(
        "the cache policy's plan reads a position that was never stored",
        hint="mark a position as cached only after a plan that commits it",
    )


def _reads_empty(past_R1QN: Tensor, store: Store | None) -> bool:
    read_RN = past_R1QN.any(dim=2)[:, 0]
    if store is None:
        return bool(read_RN.any())
    filled_RN = repeated(store.filled_BN, len(read_RN) // len(store.filled_BN))
    return bool((read_RN & ~filled_RN).any())


def _layer_reads(session: Session, plan: Plan, past_B1QN: Tensor, store: Store) -> LayerReads:
    """What the plan's layers read, as gathered before if nothing has changed since."""
    if session.reads is not None and session.reads.hold(plan, store):
        return session.reads
    if session.checked and bool(strays(plan, past_B1QN).any()):
        raise EngineError(
            "a layer of the cache policy's plan reads a position that the plan does not read",
            hint="narrow `layers_BNY` to positions that are marked as cached and not computed",
        )
    return LayerReads.of(plan, store, session.info.attention)
