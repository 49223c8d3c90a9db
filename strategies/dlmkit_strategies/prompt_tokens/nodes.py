"""A view in which every node of a branching draft is asked what comes after it.

Legend: B rows, X states.
"""

from __future__ import annotations

import attrs
import torch

from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Look, Sight
from dlmkit.draft_verify.round import Round

__all__ = ["EveryNode"]


@attrs.frozen
class EveryNode(Sight):
    """The canvas and every node of the draft in one row of a causal pass, each node once.

    Like the view `tree`, for drafters that read what the verifier says behind the node that was
    reached, whichever it is: behind each node stand as many positions of its own as the draft
    asks for.  What is known must be stored (`cache: block-causal`).
    Source: parallel prompt decoding (arXiv:2405.18628), the attention mask of its tree.
    """

    name = "nodes"
    requires = frozenset({"causal"})
    branches = True
    columns = True

    def look(self, draft: Draft, start: Round) -> Look:
        """One state more than there are nodes."""
        shown = Look.of_states(draft, start)
        before_BX = torch.full_like(draft.before_BX, -1)
        return attrs.evolve(shown, before_BX=before_BX, entries="causal", columns=True)
