"""Shapes of trees whose nodes are named by ranks, and drafts in such a shape.

Legend: B rows, D nodes, F nodes of a depth.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterator
from itertools import product

import attrs
import torch
from torch import Tensor

from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit.draft_verify.round import Round

__all__ = ["Levels", "Shape", "as_draft", "balanced", "first_mask", "grown", "likeliest", "likely"]


@attrs.frozen
class Shape:
    """A tree below the last known token: each node's parent (-1: that token), rank and depth.

    Parents come before their children; the first nodes have depth 1.
    """

    parents: tuple[int, ...]
    ranks: tuple[int, ...]
    depths: tuple[int, ...]

    @classmethod
    def of(cls, paths: list[tuple[int, ...]]) -> Shape:
        """From paths of ranks that hold every beginning of each."""
        ordered = sorted(paths, key=lambda path: (len(path), path))
        place = {path: number for number, path in enumerate(ordered)}
        return cls(
            parents=tuple(place.get(path[:-1], ROOT) for path in ordered),
            ranks=tuple(path[-1] for path in ordered),
            depths=tuple(len(path) for path in ordered),
        )

    def levels(self, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
        """The nodes of each depth, and their parents, counted from the start of the last depth."""
        begin, before = 0, ROOT
        for depth in range(1, self.depths[-1] + 1):
            end = begin + self.depths.count(depth)
            parents = torch.tensor(self.parents[begin:end], device=device)
            yield slice(begin, end), parents - before
            begin, before = end, begin


@functools.cache
def likeliest(nodes: int, shares: tuple[tuple[float, ...], ...]) -> Shape:
    """The most likely nodes, if rank r at depth d is right with probability `shares[d - 1][r]`."""
    paths: list[tuple[float, tuple[int, ...]]] = []
    level: list[tuple[float, tuple[int, ...]]] = [(-1.0, ())]
    for row in shares:
        below = product(level, enumerate(row))
        longer = [(weight * share, (*path, rank)) for (weight, path), (rank, share) in below]
        level = heapq.nsmallest(nodes, longer)
        paths += level
    return Shape.of([path for _, path in heapq.nsmallest(nodes, paths)])


@functools.cache
def likely(nodes: int, ranks: int, falling: float, kept: float) -> Shape:
    """The most likely nodes, if rank r is right with probability kept / (r + 1)^falling."""
    heap: list[tuple[float, tuple[int, ...]]] = [
        (-kept / (rank + 1) ** falling, (rank,)) for rank in range(ranks)
    ]
    heapq.heapify(heap)
    paths = []
    for _ in range(nodes):
        weight, path = heapq.heappop(heap)
        paths.append(path)
        for rank in range(ranks):
            heapq.heappush(heap, (weight * kept / (rank + 1) ** falling, (*path, rank)))
    return Shape.of(paths)


@functools.cache
def balanced(widths: tuple[int, ...]) -> Shape:
    """Every node of depth l - 1 has `widths[l]` children."""
    paths: list[tuple[int, ...]] = [()]
    found: list[tuple[int, ...]] = []
    for width in widths:
        paths = [(*path, rank) for path in paths for rank in range(width)]
        found += paths
    return Shape.of(found)


def first_mask(start: Round) -> Tensor:
    """The first undecided position of each row, `first_B` int64; the last if there is none."""
    canvas, last = start.canvas, start.canvas.tokens_BN.shape[1] - 1
    return torch.where(canvas.masked_BN, canvas.columns_N, last).amin(dim=1)


def as_draft(
    shape: Shape, token_BD: Tensor, known_BD: Tensor, start: Round, *, law_BDV: Tensor | None = None
) -> Draft:
    """A draft of tokens in this shape, from each row's first mask on.

    Nodes that are not known, beyond the budget or beyond an unbroken run of masks are left out,
    and all that follow them.
    """
    parent_D, depth_D = (
        torch.tensor(each, device=token_BD.device) for each in (shape.parents, shape.depths)
    )
    return grown(parent_D.expand_as(token_BD), depth_D, token_BD, known_BD, start, law_BDV=law_BDV)


@attrs.frozen(eq=False)
class Levels:
    """A tree that grows depth by depth, and differently in each row."""

    parents: list[Tensor] = attrs.field(factory=list)
    tokens: list[Tensor] = attrs.field(factory=list)

    def add(self, token_BF: Tensor, from_BF: Tensor) -> None:
        """Nodes one token on; `from_BF` counts each one's parent in the depth before, from 0."""
        before = sum(each.shape[1] for each in self.tokens[:-1])
        self.parents.append(from_BF + before if self.tokens else torch.full_like(from_BF, ROOT))
        self.tokens.append(token_BF)

    def as_draft(self, known_BD: Tensor, start: Round, *, law_BDV: Tensor | None = None) -> Draft:
        """A draft of what has grown, if anything, from each row's first mask on."""
        depths = [depth for depth, each in enumerate(self.tokens, 1) for _ in range(each.shape[1])]
        return grown(
            torch.cat(self.parents, dim=1),
            torch.tensor(depths, device=known_BD.device),
            torch.cat(self.tokens, dim=1),
            known_BD,
            start,
            law_BDV=law_BDV,
        )


def grown(
    parent_BD: Tensor,
    depth_BD: Tensor,
    token_BD: Tensor,
    known_BD: Tensor,
    start: Round,
    *,
    law_BDV: Tensor | None = None,
) -> Draft:
    """The same where every row's nodes have parents of their own, and depths unless `[D]`."""
    canvas, last = start.canvas, start.canvas.tokens_BN.shape[1] - 1
    position_BD = first_mask(start)[:, None] + depth_BD - 1
    open_BD = canvas.masked_BN.gather(1, position_BD.clamp_max(last)) & (position_BD <= last)
    node_D = torch.arange(token_BD.shape[1], device=token_BD.device)
    draft = Draft(
        position_BE=position_BD.clamp_max(last),
        token_BE=token_BD,
        node_BE=node_D.expand_as(token_BD),
        valid_BE=torch.ones_like(open_BD),
        parent_BD=parent_BD,
        law_BEV=law_BDV,
    )
    own_BD = known_BD & open_BD & (depth_BD <= start.budget_B[:, None])
    return attrs.evolve(draft, valid_BE=draft.whole(own_BD))
