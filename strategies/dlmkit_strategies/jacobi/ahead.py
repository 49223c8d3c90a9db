"""Blocks that are drafted ahead of the one that is decided now.

Legend: B rows, N canvas positions, J blocks ahead.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

__all__ = ["Ahead"]


@attrs.frozen(eq=False)
class Ahead:
    """How many blocks each row drafts ahead, and how much of each has settled.

    `count_B` int64; `settled_BJ` int64 is the number of leading tokens of block j that agreed
    with the network once; they were conditioned on guesses, so they are kept, not decided.
    """

    count_B: Tensor
    settled_BJ: Tensor

    @classmethod
    def none(cls, like_B: Tensor, most: int) -> Ahead:
        """No block yet, of at most so many."""
        return cls(torch.zeros_like(like_B), torch.zeros_like(like_B)[:, None].repeat(1, most))

    def moved(self, blocks_B: Tensor) -> Ahead:
        """The same after the row's own block has moved on by so many."""
        most = self.settled_BJ.shape[1]
        place_BJ = torch.arange(most, device=blocks_B.device) + blocks_B[:, None]
        wider_BJ = torch.nn.functional.pad(self.settled_BJ, (0, 1))
        return Ahead(
            (self.count_B - blocks_B).clamp_min(0), wider_BJ.gather(1, place_BJ.clamp_max(most))
        )

    def frozen_BN(self, end_B: Tensor, length: int, columns_N: Tensor) -> Tensor:
        """Positions of settled tokens in the blocks after `end_B`, bool."""
        offset_BN = columns_N - end_B[:, None]
        if not self.settled_BJ.shape[1]:
            return torch.zeros_like(offset_BN, dtype=torch.bool)
        last = self.settled_BJ.shape[1] - 1
        settled_BN = self.settled_BJ.gather(1, (offset_BN // length).clamp(0, last))
        ahead_BN = (offset_BN >= 0) & (offset_BN < length * self.count_B[:, None])
        return ahead_BN & (offset_BN % length < settled_BN)

    def settling(self, agrees_BN: Tensor, end_B: Tensor, length: int) -> Ahead:
        """The same after a pass; `agrees_BN` says where the guess was what the network says."""
        columns_N = torch.arange(agrees_BN.shape[1], device=agrees_BN.device)
        grown = []
        for block, settled_B in enumerate(self.settled_BJ.unbind(dim=1)):
            offset_BN = columns_N - (end_B + block * length)[:, None]
            # The first token of what is not settled yet is taken on trust.
            open_BN = (offset_BN > settled_B[:, None]) & (offset_BN < length)
            broken_BN = open_BN & ~agrees_BN
            stop_B = torch.where(broken_BN, offset_BN, length).amin(dim=1)
            grown.append(torch.where(block < self.count_B, stop_B, settled_B))
        settled_BJ = torch.stack(grown, dim=1) if grown else self.settled_BJ
        return Ahead(self.count_B, settled_BJ)

    def spawning(self, own_B: Tensor, enough: int) -> tuple[Ahead, Tensor]:
        """One block more in rows whose newest one has settled far enough, and which rows those are.

        `own_B` is how far the row's own block is decided.
        """
        most = self.settled_BJ.shape[1]
        reached_BJ = torch.cat((own_B[:, None], self.settled_BJ), dim=1)
        newest_B = reached_BJ.gather(1, self.count_B[:, None])[:, 0]
        spawn_B = (newest_B >= enough) & (self.count_B < most)
        return Ahead(self.count_B + spawn_B, self.settled_BJ), spawn_B
