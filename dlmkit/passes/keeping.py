"""What is kept of a pass: keys and values in the store, and what a network has left there.

Legend: Q fed positions, N canvas positions, R = rows x variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlmkit.key_values.in_place import places_BQ
from dlmkit.passes.variants import first_rows, repeated

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.network import NetworkOutput
    from dlmkit.passes.plan import Plan
    from dlmkit.passes.session import Session

__all__ = ["keep"]


def keep(
    session: Session, output: NetworkOutput, plan: Plan, ids_RN: Tensor, ids_RQ: Tensor
) -> None:
    """Store what the plan keeps; canvases that share a store keep what the first computes."""
    if output.fresh is None:
        _note_written(session, plan, ids_RN, ids_RQ)
    elif plan.commit_BQ is not None:
        store = session.room(ids_RN)
        own, times = len(store.tag_BN), len(ids_RQ) // len(plan.feed_BQ)
        fresh = first_rows(output.fresh, own, plan.feed_BQ.shape[1])
        if plan.keeps_all and session.proviso is None:
            store.replace(fresh, ids_RQ[:own])
            return
        commit_BQ = plan.commit_BQ
        if session.proviso is not None:  # the pass may be unwanted
            commit_BQ = commit_BQ & session.proviso
        feed_BQ, keep_BQ = repeated(plan.feed_BQ, times)[:own], repeated(commit_BQ, times)[:own]
        store.commit(fresh, feed_BQ, keep_BQ, ids_RQ[:own])


def _note_written(session: Session, plan: Plan, ids_RN: Tensor, ids_RQ: Tensor) -> None:
    """Let the store know what the network has left in it; once, where that says all."""
    store, times = session.room(ids_RN), len(ids_RQ) // len(plan.feed_BQ)
    target_RQ = repeated(places_BQ(plan, session.kept), times)
    if plan.commit_BQ is not None:
        store.written(target_RQ, repeated(plan.commit_BQ, times), ids_RQ)
        return
    session.kept.of("lost", (plan, store, store.changes), lambda: store.lost(target_RQ))
