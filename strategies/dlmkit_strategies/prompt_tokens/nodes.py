"""A view in which every node of a branching draft is a text of its own.

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
    """The canvas and every node of the draft, each a row of one causal pass.

    More rows than the view `paths`, for drafters that read what the verifier says behind the node
    that was reached, whichever it is.  Guesses are rated alike.
    Source: parallel prompt decoding (arXiv:2405.18628), where every node of the tree has prompt
    tokens of its own.
    """

    name = "nodes"
    requires = frozenset({"causal"})
    branches = True

    def look(self, draft: Draft, start: Round) -> Look:
        """One row more than there are nodes."""
        shown = Look.of_states(draft, start)
        before_BX = torch.full_like(draft.before_BX, -1)
        return attrs.evolve(shown, before_BX=before_BX, entries="causal")
