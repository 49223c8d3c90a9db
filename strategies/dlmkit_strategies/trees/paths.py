"""Views of branching drafts for causal networks.

Legend: B rows, D nodes, E entries, X paths.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Look, Sight
from dlmkit.draft_verify.round import Round

__all__ = ["Paths", "Tree"]


@attrs.frozen
class Paths(Sight):
    """Every path of the draft from the canvas to a last node, each a row of one causal pass.

    A guess is rated on the first path through it, which is exact: it sees what is left of it.
    Without branches this is the view `causal`.
    Source: the batch layout of tree drafts in recursive speculative decoding (arXiv:2402.14160).
    """

    name = "paths"
    requires = frozenset({"causal"})
    branches = True

    def look(self, draft: Draft, start: Round) -> Look:
        """One row for each last node; rows with fewer of them repeat the canvas."""
        last_BD = self._last(draft)
        # The number of rows of a pass is a number of the host.
        paths = max(int(last_BD.sum(dim=1).amax()), 1)
        order_BX = last_BD.int().argsort(dim=1, descending=True, stable=True)[:, :paths]
        shown_BX = last_BD.gather(1, order_BX)
        state_BX1 = torch.where(shown_BX, order_BX + 1, 0)[..., None]
        states_BYN = draft.states(start.canvas)
        through_BXD = draft.reach_BDD.gather(1, order_BX[..., None].expand(-1, -1, draft.nodes))
        first_BD = (through_BXD & shown_BX[..., None]).int().argmax(dim=1)
        return Look(
            tokens_BXN=states_BYN.gather(1, state_BX1.expand(-1, -1, states_BYN.shape[2])),
            rates_BE=draft.of_nodes(first_BD),
            before_BX=torch.full_like(order_BX, -1),
            entries="causal",
        )

    def _last(self, draft: Draft) -> Tensor:
        """Nodes that write something and that no such node follows, bool."""
        node_D = torch.arange(draft.nodes, device=draft.parent_BD.device)
        child_BDD = (draft.parent_BD[:, :, None] == node_D) & draft.used_BD[:, :, None]
        return draft.used_BD & ~child_BDD.any(dim=1)


@attrs.frozen
class Tree(Paths):
    """The same paths in one row: every node once, which sees those that lead to it.

    It says what `paths` says, and a pass is fed the nodes of the tree, not those of each path.
    What is known must be stored (`cache: block-causal`), or each path would be fed up to the end.
    Source: tree attention in SpecInfer (arXiv:2305.09781) and Token Recycling (arXiv:2408.08696).
    """

    name = "tree"
    columns = True

    def look(self, draft: Draft, start: Round) -> Look:
        """One state for each last node, in columns."""
        return attrs.evolve(super().look(draft, start), columns=True)
