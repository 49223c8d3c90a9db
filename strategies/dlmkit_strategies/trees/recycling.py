"""Token Recycling: what the verifier thought of a token before is the draft when it comes again.

Legend: B rows, D nodes, K candidates kept for a token, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.need import Need
from dlmkit_strategies.trees.shapes import as_draft, first_mask, likely

__all__ = ["AdjacencyTree"]

UNKNOWN = -1
_LIKELY = (0.65, 0.75)
"""How the probability of a rank falls, and that of the first; see the drafter."""


@attrs.frozen(kw_only=True)
class AdjacencyTree(Drafter):
    """A tree read from a table that holds, for each token, the candidates that followed it last.

    Every node of a checked tree, kept or not, renews the candidates of its token; of several nodes
    with one token the last counts.  Each row has a table of its own, of K x V numbers; tokens that
    have not come up yet draft nothing.  The tree is the likeliest if rank r is right with
    probability 0.75 / (r + 1)^0.65, which gives nearly as many nodes at each depth as the
    published one.  Source: Token Recycling (arXiv:2408.08696).
    """

    name = "adjacency-tree"
    order = "position"
    branches = True

    candidates: int = option(8, doc="tokens kept for each token", check=at_least(1))
    nodes: int = option(80, doc="nodes of the tree", check=at_least(1))

    def needs(self) -> Need:
        """The candidates themselves."""
        return Need(top=self.candidates)

    def alone(self) -> bool:
        """A node is a token."""
        return True

    def begin(self, setting: Setting) -> DraftRun:
        """An empty table for each row."""
        session = setting.context.session(setting.verifier.model)
        rows, device = len(setting.canvas.start_B), setting.canvas.start_B.device
        vocabulary = session.info.vocab_size
        shape = (rows, vocabulary, min(self.candidates, vocabulary))
        return _Recycling(self, torch.full(shape, UNKNOWN, device=device))


@attrs.define(eq=False)
class _Recycling(DraftRun):
    drafter: AdjacencyTree
    table_BVK: Tensor

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Follow the table from each row's last known token."""
        yield from ()
        shape = likely(self.drafter.nodes, self.table_BVK.shape[2], *_LIKELY)
        rank_D = torch.tensor(shape.ranks, device=self.table_BVK.device)
        row_B1 = torch.arange(len(self.table_BVK), device=self.table_BVK.device)[:, None]
        known_BD = _last_known(start)
        found_BD = known_BD
        for level, parent_D in shape.levels(found_BD.device):
            from_BD = found_BD[:, parent_D]
            next_BD = self.table_BVK[row_B1, from_BD.clamp_min(0), rank_D[level]]
            next_BD = torch.where(from_BD == UNKNOWN, UNKNOWN, next_BD)
            known_BD, found_BD = torch.cat((known_BD, next_BD), dim=1), next_BD
        token_BD = known_BD[:, 1:]
        return as_draft(shape, token_BD.clamp_min(0), token_BD != UNKNOWN, start)

    def settle(self, result: RoundResult) -> None:
        """Renew the candidates of every token that was checked."""
        draft, look = result.draft, result.evidence.look
        last_B1 = _last_known(result.round)
        first_B1 = first_mask(result.round)[:, None]
        token_BE = torch.cat((last_B1, draft.token_BE), dim=1)
        state_BE = torch.cat((torch.zeros_like(last_B1), look.rates_BE), dim=1)
        after_BE = torch.cat((first_B1, draft.position_BE + 1), dim=1)
        prediction, found_BE = result.evidence.at(state_BE, after_BE)
        told_BE = torch.nn.functional.pad(draft.valid_BE, (1, 0), value=True) & found_BE
        told_BE = told_BE & result.round.live_B[:, None]
        self._renew(token_BE, told_BE, prediction.pack.top_ids_BPK)

    def _renew(self, token_BE: Tensor, told_BE: Tensor, top_BEK: Tensor) -> None:
        """Write the candidates of each token, of several times a token is told the last."""
        place_E = torch.arange(token_BE.shape[1], device=token_BE.device)
        same_BEE = (token_BE[:, :, None] == token_BE[:, None]) & told_BE[:, None]
        last_BE = told_BE & ~(same_BEE & (place_E > place_E[:, None])).any(dim=2)
        vocabulary, kept = self.table_BVK.shape[1:]
        top_BEK = top_BEK[..., :kept]
        target_BE1 = torch.where(last_BE, token_BE, vocabulary)[..., None]
        room_BWK = torch.nn.functional.pad(self.table_BVK, (0, 0, 0, 1))
        room_BWK = room_BWK.scatter(1, target_BE1.expand_as(top_BEK), top_BEK)
        self.table_BVK = room_BWK[:, :vocabulary]


def _last_known(start: Round) -> Tensor:
    """The token before each row's first mask, `token_B1`."""
    return start.canvas.tokens_BN.gather(1, (first_mask(start)[:, None] - 1).clamp_min(0))
