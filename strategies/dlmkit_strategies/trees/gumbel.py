"""Recursive speculative decoding: a tree of distinct draws from a causal drafter.

Legend: B rows, N canvas positions, D nodes, F nodes of a depth, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import above, at_least, each, not_empty
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, Setting
from dlmkit_strategies.trees.causal_drafter import CausalDrafter, noise_of
from dlmkit_strategies.trees.shapes import as_draft, balanced

__all__ = ["GumbelTree"]


@attrs.frozen(kw_only=True)
class GumbelTree(Drafter):
    """Children drawn without replacement from a causal drafter, at every node anew.

    A node's children are the tokens of largest log q + Gumbel noise, in falling order, so that the
    judge `recursive` can try them one after the other and keep the verifier's law exactly.  Nodes
    of a depth are rows of one pass of the drafter, over stored keys and values of the text.
    Source: recursive speculative decoding (arXiv:2402.14160), RSD-C with branching b.
    """

    name = "gumbel-tree"
    order = "position"
    branches = True
    tells_laws = True
    requires = frozenset({"causal"})

    model: str = option("main", doc="name of the drafting network in `models`")
    widths: tuple[int, ...] = option(
        (2, 2, 1), doc="children of a node at each depth", check=(not_empty, each(at_least(1)))
    )
    temperature: float = option(1.0, doc="divides the drafter's logits", check=above(0))

    def begin(self, setting: Setting) -> DraftRun:
        """Open a session of its own."""
        return _Growing(self, CausalDrafter.begin(self.model, self.temperature, setting))

    def sampled(self) -> bool:
        """Every token is drawn from the law that is reported."""
        return True

    def alone(self) -> bool:
        """A node is a token."""
        return True


@attrs.define(eq=False)
class _Growing(DraftRun):
    drafter: GumbelTree
    network: CausalDrafter

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Grow the tree depth by depth, each in one pass."""
        texts, tokens, laws = [start.canvas.tokens_BN], [], []
        for depth, width in enumerate(self.drafter.widths):
            place_B1, going_B = self.network.going(start, depth)
            if not bool(going_B.any()):
                break
            law_BFV = self.network.laws(start, texts, place_B1, going_B)
            noise_BFV = noise_of(self.drafter.name, law_BFV, place_B1, start)
            drawn_BFV = (law_BFV + noise_BFV).argsort(dim=-1, descending=True, stable=True)
            child_BD = drawn_BFV[..., :width].flatten(1)
            tokens.append(child_BD)
            laws.append(law_BFV.repeat_interleave(width, dim=1))
            parents = [text for text in texts for _ in range(width)]
            texts = [
                text.scatter(1, place_B1, token_B[:, None])
                for text, token_B in zip(parents, child_BD.unbind(dim=1), strict=True)
            ]
            yield self.network.record(start, texts[0], place_B1, going_B)
        if not tokens:
            return Draft.empty(len(start.live_B), start.live_B.device)
        token_BD = torch.cat(tokens, dim=1)
        shape = balanced(self.drafter.widths[: len(tokens)])
        known_BD = torch.ones_like(token_BD, dtype=torch.bool)
        return as_draft(shape, token_BD, known_BD, start, law_BDV=torch.cat(laws, dim=1))
