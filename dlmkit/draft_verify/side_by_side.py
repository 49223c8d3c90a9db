"""What a cache that is not exact lets states share that are looked at side by side.

A pass over several states reads, for each of them, what was stored before the round.  A verifier
that decodes alone would have stored and remembered more on its way to a state, so not every state
may be looked at.

Legend: B rows, N canvas positions, D nodes, X states, S = B x X rows of the pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import torch

from dlmkit.loop.memory import parts, rows_of, where_of
from dlmkit.roles import CachePolicy

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.roles import Look
    from dlmkit.view import View

__all__ = ["foreseen", "late"]


def foreseen(policy: CachePolicy, view: View, look: Look) -> View:
    """The view of every state with what the policy remembers by then, where that is foreseen.

    Otherwise each state goes by what the policy remembered before the round.
    """
    owners, before_BX = list(_remembering(policy)), look.before_BX
    if not policy.forks() or before_BX is None or not owners:
        return view
    rows, times = look.tokens_BXN.shape[:2]
    start_B1 = torch.arange(rows, device=before_BX.device)[:, None] * times
    source_S = (start_B1 + before_BX.clamp_min(0)).flatten()
    first, led_S = view.memory, (before_BX >= 0).flatten()
    for _ in range(times - 1):  # each turn settles the states one step further on
        ahead = rows_of({id(owner): owner.foresee(view) for owner in owners}, source_S)
        known = {owner: where_of(led_S, ahead[owner], first[owner]) for owner in ahead}
        view = attrs.evolve(view, memory={**first, **known})
    return view


def late(policy: CachePolicy, view: View, draft: Draft, look: Look) -> Tensor:
    """Nodes that a look before the round cannot stand for, and what follows them, `late_BD` bool.

    Those to which the verifier comes when it renews what is stored; and, where the policy promises
    as much, those whose pass does not store again what a pass on the way to them would have.
    """
    state_BD, shape = look.state_BD, look.tokens_BXN.shape
    assert state_BD is not None  # noqa: S101 - every node is a state
    late_BD = policy.renews(view).reshape(shape[:2]).gather(1, state_BD)
    if policy.forks():
        stores_BXN = policy.plan(view).committed_BN(shape[2]).reshape(shape)
        own_BDN = stores_BXN.gather(1, state_BD[..., None].expand(-1, -1, shape[2]))
        node_D = torch.arange(draft.nodes, device=state_BD.device)
        above_BDD = draft.reach_BDD & (node_D[:, None] != node_D)
        way_BDN = (above_BDD.float() @ own_BDN.float()) > 0
        late_BD = late_BD | ((way_BDN | stores_BXN[:, :1]) & ~own_BDN).any(dim=2)
    return (draft.reach_BDD & late_BD[:, None]).any(dim=2)


def _remembering(policy: CachePolicy) -> Iterator[CachePolicy]:
    return (part for part in parts(policy) if isinstance(part, CachePolicy) and part.state)
