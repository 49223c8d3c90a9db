"""Drafts: what a drafter proposes, whatever its shape.

A draft is a forest of *nodes* over the canvas.  A node is a state that decoding might reach: its
parent's state (the canvas itself, if it has none) with the tokens of its own *entries* written.
One node with many entries is a set; a chain of nodes is a sequence of steps; brothers are
alternatives.

Legend: B rows, N canvas positions, E entries, D nodes, X states (the canvas, then the nodes),
V vocabulary.
"""

from __future__ import annotations

from functools import cached_property

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas

__all__ = ["ROOT", "Draft"]

ROOT = -1
"""The parent of a node that starts from the canvas."""


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Draft:
    """Tokens that may come next, in every row of a batch.

    `position_BE`, `token_BE`, `node_BE` int64: entry e puts that token there in that node.
    `valid_BE` is false on filler.  `parent_BD` int64 is each node's parent, a lower number, or
    -1.  `logp_BE` is the log-probability of the token under the law that it was drawn from, or
    that rated it, in nats; `law_BEV` that whole law, and `noise_BEV` the Gumbel numbers that it
    was drawn with; None where nobody kept them.  Nodes with the same number in `state_BD` int64
    are one state, to which several paths lead (None: all differ).  `lost_B` int64 counts tokens
    that a bridge could not carry.  `behind_BX` int64 is the number of positions behind the next
    token that each state, the canvas first, is to be asked about too (None: none).  No path from
    the canvas to a node writes a position twice.
    """

    position_BE: Tensor
    token_BE: Tensor
    node_BE: Tensor
    valid_BE: Tensor
    parent_BD: Tensor
    logp_BE: Tensor | None = None
    law_BEV: Tensor | None = None
    noise_BEV: Tensor | None = None
    state_BD: Tensor | None = None
    lost_B: Tensor | None = None
    behind_BX: Tensor | None = None

    @classmethod
    def empty(cls, rows: int, device: torch.device | str = "cpu") -> Draft:
        """A draft of nothing."""
        none_B0 = torch.zeros(rows, 0, dtype=torch.int64, device=device)
        return cls(
            position_BE=none_B0,
            token_BE=none_B0,
            node_BE=none_B0,
            valid_BE=none_B0.bool(),
            parent_BD=none_B0,
        )

    @classmethod
    def chain(
        cls,
        position_BE: Tensor,
        token_BE: Tensor,
        valid_BE: Tensor,
        *,
        logp_BE: Tensor | None = None,
        law_BEV: Tensor | None = None,
    ) -> Draft:
        """One entry after the other, each a node of its own on top of the one before."""
        node_E = torch.arange(position_BE.shape[1], device=position_BE.device)
        node_BE = node_E.expand_as(position_BE)
        return cls(
            position_BE=position_BE,
            token_BE=token_BE,
            node_BE=node_BE,
            valid_BE=valid_BE,
            parent_BD=node_BE - 1,
            logp_BE=logp_BE,
            law_BEV=law_BEV,
        )

    @property
    def nodes(self) -> int:
        """Number of nodes, filler included."""
        return self.parent_BD.shape[1]

    @cached_property
    def reach_BDD(self) -> Tensor:
        """Whether node a lies on the path to node d, itself included, `[b, d, a]` bool."""
        node_D = torch.arange(self.nodes, device=self.parent_BD.device)
        step_BDD = (self.parent_BD[:, :, None] == node_D) | (node_D[:, None] == node_D)
        reach_BDD = step_BDD.float()
        for _ in range(max(self.nodes - 1, 0).bit_length()):
            reach_BDD = (reach_BDD @ reach_BDD).clamp_max(1)  # paths of twice the length
        return reach_BDD > 0

    @cached_property
    def before_BX(self) -> Tensor:
        """The state each state comes after, int64; none (-1) for the canvas.

        A node that writes nothing is the state of its parent over again.
        """
        used_BDD = self.reach_BDD & self.used_BD[:, None]
        count_BD = used_BDD.sum(dim=2)
        last_BDD = used_BDD & (count_BD[:, None] == count_BD[:, :, None] - 1)
        state_D = torch.arange(1, self.nodes + 1, device=count_BD.device)
        before_BD = torch.where(count_BD > 0, (last_BDD * state_D).sum(dim=2), -1)
        return torch.nn.functional.pad(before_BD, (1, 0), value=-1)

    def distinct(self) -> tuple[Tensor, Tensor]:
        """Which states to show so that none is shown twice.

        `place_BX` int64 is where each state is among those shown, `shown_BX` which state each of
        those is; the canvas is the first of both.  Costs a host read where states may be equal.
        """
        rows, state_X = len(self.parent_BD), torch.arange(self.nodes + 1)
        every_BX = state_X.to(self.parent_BD.device).expand(rows, -1)
        if self.state_BD is None or not self.nodes:
            return every_BX, every_BX
        same_BDD = self.state_BD[:, :, None] == self.state_BD[:, None]
        first_BD = (same_BDD & self.used_BD[:, None]).int().argmax(dim=2)
        own_BD = self.used_BD & (first_BD == every_BX[:, :-1])
        own_BX = torch.nn.functional.pad(own_BD, (1, 0), value=True)
        count = int(own_BX.sum(dim=1).amax())
        shown_BX = own_BX.int().argsort(dim=1, descending=True, stable=True)[:, :count]
        shown_BX = torch.where(own_BX.gather(1, shown_BX), shown_BX, 0)
        place_BX = (own_BX.cumsum(dim=1) - 1).gather(
            1, torch.nn.functional.pad(first_BD + 1, (1, 0))
        )
        used_BX = torch.nn.functional.pad(self.used_BD, (1, 0), value=True)
        return torch.where(used_BX, place_BX, 0), shown_BX

    @cached_property
    def depth_BD(self) -> Tensor:
        """Nodes on the path to each node, itself included: its draft position, from 1."""
        return self.reach_BDD.sum(dim=2)

    @cached_property
    def used_BD(self) -> Tensor:
        """Nodes that write anything, bool."""
        return self.per_node(self.valid_BE.int()) > 0

    def per_node(self, values_BE: Tensor) -> Tensor:
        """Sum the values of each node's entries, `[B, D]`; filler counts as zero."""
        values_BE = torch.where(self.valid_BE, values_BE, torch.zeros_like(values_BE))
        sums_BD = values_BE.new_zeros(self.parent_BD.shape)
        return sums_BD.scatter_add(1, self.node_BE, values_BE)

    def of_nodes(self, values_BD: Tensor) -> Tensor:
        """The value of its node for each entry, `[B, E]`."""
        return values_BD.gather(1, self.node_BE)

    def whole(self, ok_BE: Tensor) -> Tensor:
        """Nodes on whose path, they included, every entry is ok, bool `[B, D]`."""
        broken_BD = self.per_node((~ok_BE).int()) > 0
        return ~(self.reach_BDD & broken_BD[:, None, :]).any(dim=2)

    def written(self, canvas: Canvas, where_BE: Tensor, tokens_BE: Tensor | None = None) -> Tensor:
        """The canvas with the chosen entries written, `tokens_BN`.

        Of several entries at one position the first stands.
        """
        tokens_BE = self.token_BE if tokens_BE is None else tokens_BE
        entries, columns = tokens_BE.shape[1], canvas.tokens_BN.shape[1]
        if not entries:
            return canvas.tokens_BN
        first_BN = self.first_at(where_BE, columns)
        written_BN = tokens_BE.gather(1, first_BN.clamp_max(entries - 1))
        return torch.where(first_BN < entries, written_BN, canvas.tokens_BN)

    def first_at(self, where_BE: Tensor, columns: int) -> Tensor:
        """The first chosen entry at each position, int64 `[B, N]`; where there is none, E."""
        rows, entries = where_BE.shape
        target_BE = torch.where(where_BE & self.valid_BE, self.position_BE, columns)
        order_BE = torch.arange(entries, device=target_BE.device).expand(rows, -1)
        nothing_BM = torch.full((rows, columns + 1), entries, device=target_BE.device)
        return nothing_BM.scatter_reduce(1, target_BE, order_BE, "amin")[:, :columns]

    def leading(self, where_BE: Tensor, columns: int) -> Tensor:
        """The chosen entries of which none before is at the same position, bool `[B, E]`."""
        first_BE = self.first_at(where_BE, columns).gather(1, self.position_BE)
        order_E = torch.arange(where_BE.shape[1], device=where_BE.device)
        return where_BE & self.valid_BE & (first_BE == order_E)

    def trimmed(self) -> Draft:
        """Without filler that no row needs, and without nodes if nothing is left; one host read."""
        if not self.nodes:
            return self
        node_D = torch.arange(1, self.nodes + 1, device=self.parent_BD.device)
        last_B = torch.where(self.used_BD, node_D, 0).amax(dim=1)
        facts = torch.stack((last_B.amax(), self.valid_BE.sum(dim=1).amax()))
        nodes, entries = facts.tolist()
        order_BE = self.valid_BE.int().argsort(dim=1, descending=True, stable=True)[:, :entries]
        node_BE = self.node_BE.gather(1, order_BE).clamp_max(max(nodes - 1, 0))
        return attrs.evolve(
            self,
            position_BE=self.position_BE.gather(1, order_BE),
            token_BE=self.token_BE.gather(1, order_BE),
            node_BE=node_BE,
            valid_BE=self.valid_BE.gather(1, order_BE),
            parent_BD=self.parent_BD[:, :nodes],
            logp_BE=None if self.logp_BE is None else self.logp_BE.gather(1, order_BE),
            law_BEV=_taken(self.law_BEV, order_BE),
            noise_BEV=_taken(self.noise_BEV, order_BE),
            state_BD=None if self.state_BD is None else self.state_BD[:, :nodes],
            behind_BX=None if self.behind_BX is None else self.behind_BX[:, : nodes + 1],
        )

    def marks(self, where_BE: Tensor, columns: int) -> Tensor:
        """The positions of the chosen entries on a canvas of so many columns, bool `[B, N]`."""
        target_BE = torch.where(where_BE & self.valid_BE, self.position_BE, columns)
        marks_BM = target_BE.new_zeros(len(target_BE), columns + 1, dtype=torch.bool)
        return marks_BM.scatter(1, target_BE, value=True)[:, :columns]

    def states(self, canvas: Canvas) -> Tensor:
        """The canvas, then each node's state, `tokens_BXN`."""
        columns, root_B1N = canvas.tokens_BN.shape[1], canvas.tokens_BN[:, None]
        node_BDE = self.node_BE[:, None, :].expand(-1, self.nodes, -1)
        on_path_BDE = self.reach_BDD.gather(2, node_BDE) & self.valid_BE[:, None, :]
        target_BDE = torch.where(on_path_BDE, self.position_BE[:, None, :], columns)
        token_BDE = self.token_BE[:, None, :].expand_as(target_BDE)
        room_BDM = torch.nn.functional.pad(root_B1N.repeat(1, self.nodes, 1), (0, 1))
        node_BDN = room_BDM.scatter(2, target_BDE, token_BDE)[..., :columns]
        return torch.cat((root_B1N, node_BDN), dim=1)


def _taken(values_BEV: Tensor | None, order_BE: Tensor) -> Tensor | None:
    if values_BEV is None:
        return None
    return values_BEV.gather(1, order_BE[..., None].expand(-1, -1, values_BEV.shape[-1]))
