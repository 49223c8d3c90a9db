"""A Jacobi drafter at work: what it guesses, and what it makes of the answers.

Legend: B rows, N canvas positions, E entries, C drafts tried beside the main one, T tokens of
each, J blocks ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit.draft_verify.roles import DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit_strategies.jacobi.ahead import Ahead
from dlmkit_strategies.jacobi.pool import NOTHING, Pool

__all__ = ["JacobiRun", "frontier"]

UNBEGUN = -2


def frontier(tokens_BN: Tensor, mask_id: int) -> Tensor:
    """The first undecided position of each row, `[B]` int64; beyond the end if there is none."""
    columns = tokens_BN.shape[1]
    places_N = torch.arange(columns, device=tokens_BN.device)
    return torch.where(tokens_BN == mask_id, places_N, columns).amin(dim=1)


@attrs.define(kw_only=True, eq=False)
class JacobiRun(DraftRun):
    """The guesses of one decode.

    `guess_BN` int64; `block_B` the block of each row's last known token, -1 while that is in the
    prompt; `rejected_B` rows whose last draft was not kept whole.
    """

    opening: Callable[[Round], Tensor]
    length: int
    enough: int
    pad: int
    mask_id: int
    start_B: Tensor
    guess_BN: Tensor
    block_B: Tensor
    rejected_B: Tensor
    ahead: Ahead
    pool: Pool

    @classmethod
    def of(
        cls,
        setting: Setting,
        *,
        opening: Callable[[Round], Tensor],
        length: int,
        blocks: int,
        enough: int,
        pool: int,
    ) -> JacobiRun:
        """Begin a decode."""
        canvas = setting.canvas
        rows, columns = canvas.tokens_BN.shape
        info = setting.context.session(setting.verifier.model).info
        return cls(
            opening=opening,
            length=length,
            enough=enough,
            pad=info.eos_ids[0] if info.eos_ids else 0,
            mask_id=canvas.mask_id,
            start_B=canvas.start_B,
            guess_BN=canvas.tokens_BN,
            block_B=torch.full_like(canvas.start_B, UNBEGUN),
            rejected_B=torch.zeros_like(canvas.done_B),
            ahead=Ahead.none(canvas.start_B, blocks - 1),
            pool=Pool.empty(rows, pool, columns, canvas.tokens_BN.device),
        )

    @property
    def end_B(self) -> Tensor:
        """The end of each row's own block."""
        return self.start_B + (self.block_B.clamp_min(0) + 1) * self.length

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Guess up to the end of the row's block and the blocks ahead; nothing runs for that."""
        yield from ()
        first_B = frontier(start.canvas.tokens_BN, self.mask_id)
        self._enter(start, first_B)
        widest = self.length * (1 + self.ahead.settled_BJ.shape[1])
        position_BE, valid_BE = self._places(start, first_B, self.ahead.count_B, widest)
        guess_BE = self.guess_BN.gather(1, position_BE)
        main = Draft.chain(position_BE, guess_BE, valid_BE)
        others = self._others(start, first_B)
        return main if others is None else _beside(main, others)

    def settle(self, result: RoundResult) -> None:
        """Guess what the network said, except where a block ahead has settled."""
        end_B, columns_N = self.end_B, result.round.canvas.columns_N
        said_BN = _said(result, self.guess_BN, end_B) if result.draft.nodes else self.guess_BN
        own_BN = columns_N < end_B[:, None]
        self.ahead = self.ahead.settling(said_BN == self.guess_BN, end_B, self.length)
        frozen_BN = self.ahead.frozen_BN(end_B, self.length, columns_N)
        first_B = frontier(result.after_BN, self.mask_id)
        begun_B = result.round.live_B & (self.block_B >= 0)
        self.rejected_B = begun_B & (first_B <= end_B)
        text_BN = torch.where(own_BN, said_BN, self.guess_BN)
        self._remember(self._text(result.after_BN, text_BN), first_B)
        self.guess_BN = torch.where(frozen_BN, self.guess_BN, said_BN)
        self._spawn(result.after_BN, first_B, begun_B)

    def _enter(self, start: Round, first_B: Tensor) -> None:
        """Find each row's block, and guess where nothing is known of it."""
        block_B = (first_B - 1 - self.start_B) // self.length
        moved_B = block_B.clamp_min(0) - self.block_B.clamp_min(0)
        grown_BJ = torch.nn.functional.pad(self.ahead.settled_BJ, (1, 1))
        last = grown_BJ.shape[1] - 1
        settled_B = grown_BJ.gather(1, moved_B.clamp(0, last)[:, None])[:, 0]
        new_B = (self.block_B == UNBEGUN) | ((moved_B > 0) & (settled_B == 0))
        self.ahead = self.ahead.moved(moved_B)
        self.block_B = block_B
        self.guess_BN = torch.where(new_B[:, None], self.opening(start), self.guess_BN)

    def _places(
        self, start: Round, first_B: Tensor, blocks_B: Tensor, most: int
    ) -> tuple[Tensor, Tensor]:
        """Undecided positions to the end of the row's block and so many more, and which count."""
        width = min(most, start.canvas.region_width)
        position_BE = first_B[:, None] + torch.arange(width, device=first_B.device)
        stop_B = (self.end_B + self.length * blocks_B).minimum(first_B + start.budget_B)
        stop_B = stop_B.minimum(start.canvas.length_B)
        valid_BE = (position_BE < stop_B[:, None]) & start.live_B[:, None]
        return position_BE.clamp_max(self.guess_BN.shape[1] - 1), valid_BE

    def _others(self, start: Round, first_B: Tensor) -> Draft | None:
        """Continuations of the next token from the pool, at least two of them; else None."""
        if not self.pool.tokens_BCL.shape[1]:
            return None
        position_BT, valid_BT = self._places(start, first_B, torch.zeros_like(first_B), self.length)
        token_B = start.canvas.tokens_BN.gather(1, (first_B[:, None] - 1).clamp_min(0))[:, 0]
        tail_BT = self.guess_BN.gather(1, position_BT)
        token_BCT, found_BC = self.pool.continuations(token_B, tail_BT)
        found_BC = found_BC & (found_BC.sum(dim=1, keepdim=True) > 1) & self.rejected_B[:, None]
        # One read of the host: chains that no row has are not run.
        if not bool((found_BC & valid_BT.any(dim=1, keepdim=True)).any()):
            return None
        chains = found_BC.shape[1]
        node_T = torch.arange(chains * position_BT.shape[1], device=first_B.device)
        return Draft(
            position_BE=position_BT.repeat(1, chains),
            token_BE=token_BCT.flatten(1),
            node_BE=node_T.expand(len(first_B), -1),
            valid_BE=(found_BC[:, :, None] & valid_BT[:, None]).flatten(1),
            parent_BD=torch.where(node_T % position_BT.shape[1] == 0, ROOT, node_T - 1).expand(
                len(first_B), -1
            ),
        )

    def _text(self, tokens_BN: Tensor, guess_BN: Tensor) -> Tensor:
        """The canvas with guesses where it is undecided."""
        return torch.where(tokens_BN == self.mask_id, guess_BN, tokens_BN)

    def _remember(self, text_BN: Tensor, first_B: Tensor) -> None:
        """Put the text from each row's block on, and what was guessed again, into the pool."""
        if not self.pool.tokens_BCL.shape[1]:
            return
        begin_B = self.end_B - self.length
        stop_B = self.end_B + self.length * self.ahead.count_B
        self.pool = self.pool.pushed(self._cut(text_BN, begin_B, stop_B), self.rejected_B)
        tail_B = self.rejected_B & (first_B < self.end_B)
        self.pool = self.pool.pushed(self._cut(text_BN, first_B, self.end_B), tail_B)

    def _cut(self, text_BN: Tensor, begin_B: Tensor, stop_B: Tensor) -> Tensor:
        """The tokens of each row between two places, without padding, moved to the front."""
        places_N = torch.arange(text_BN.shape[1], device=text_BN.device)
        inside_BN = (places_N >= begin_B[:, None]) & (places_N < stop_B[:, None])
        inside_BN = inside_BN & (text_BN != self.pad) & (text_BN != self.mask_id)
        order_BN = inside_BN.int().argsort(dim=1, descending=True, stable=True)
        kept_BN = torch.where(inside_BN, text_BN, NOTHING)
        return kept_BN.gather(1, order_BN)

    def _spawn(self, tokens_BN: Tensor, first_B: Tensor, begun_B: Tensor) -> None:
        """Begin a block ahead with the rest of the row's own one, filled up with padding."""
        end_B, length = self.end_B, self.length
        own_B = torch.where(begun_B, (first_B - 1 - (end_B - length)).clamp(0, length), 0)
        self.ahead, spawn_B = self.ahead.spawning(own_B, self.enough)
        begin_B = end_B + (self.ahead.count_B - 1) * length
        columns = tokens_BN.shape[1]
        offset_BN = torch.arange(columns, device=begin_B.device) - begin_B[:, None]
        from_BN = (first_B - 1)[:, None] + offset_BN
        text_BN = self._text(tokens_BN, self.guess_BN)
        rest_BN = text_BN.gather(1, from_BN.clamp(0, columns - 1))
        rest_BN = torch.where(from_BN < end_B[:, None], rest_BN, self.pad)
        new_BN = spawn_B[:, None] & (offset_BN >= 0) & (offset_BN < length)
        self.guess_BN = torch.where(new_BN, rest_BN, self.guess_BN)


def _beside(main: Draft, others: Draft) -> Draft:
    """Two drafts of one canvas as one."""
    shifted_BD = torch.where(others.parent_BD == ROOT, ROOT, others.parent_BD + main.nodes)
    return Draft(
        position_BE=torch.cat((main.position_BE, others.position_BE), dim=1),
        token_BE=torch.cat((main.token_BE, others.token_BE), dim=1),
        node_BE=torch.cat((main.node_BE, others.node_BE + main.nodes), dim=1),
        valid_BE=torch.cat((main.valid_BE, others.valid_BE), dim=1),
        parent_BD=torch.cat((main.parent_BD, shifted_BD), dim=1),
    )


def _said(result: RoundResult, guess_BN: Tensor, end_B: Tensor) -> Tensor:
    """What the network said where it was asked; in the row's own block, on the best chain."""
    draft, columns = result.draft, guess_BN.shape[1]
    beginning_BD = draft.parent_BD == ROOT
    root_BD = (draft.reach_BDD & beginning_BD[:, None]).int().argmax(dim=2)
    root_BE = draft.of_nodes(root_BD)
    own_BE = draft.position_BE < end_B[:, None]
    kept_BE = (result.resolution.keep_BE & own_BE).long()
    kept_BD = torch.zeros_like(root_BD).scatter_add(1, root_BE, kept_BE)
    best_B1 = kept_BD.argmax(dim=1, keepdim=True)  # ties: the first chain
    chosen_BE = torch.where(own_BE, root_BE == best_B1, root_BE == 0) & draft.valid_BE
    target_BE = torch.where(chosen_BE, draft.position_BE, columns)
    said_BM = torch.nn.functional.pad(guess_BN, (0, 1))
    return said_BM.scatter(1, target_BE, result.verdict.token_BE)[:, :columns]
