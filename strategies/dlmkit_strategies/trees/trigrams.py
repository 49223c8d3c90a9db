"""A tree of guesses from tri-gram statistics, which adapt to the text while it is written.

Legend: B rows, N canvas positions, F nodes of a depth, C candidates of a node, D nodes, M pairs of
the table, K successors kept for a pair.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, Setting
from dlmkit_strategies.trees.shapes import Levels, first_mask
from dlmkit_strategies.trees.trigram_table import TrigramTable, table_file

__all__ = ["TrigramTree"]

NONE = -1
"""No token."""


@attrs.frozen(kw_only=True)
class TrigramTree(Drafter):
    """The likeliest continuations of the last two tokens, by a table of what follows which pair.

    A table counted from other texts gives each successor of a pair its share; every time that the
    text itself has gone on like that adds `gain`, up to `most`.  The likelihood of a path is the
    product of its successors' parts of their pairs' weights, and the tree is the `nodes` likeliest
    paths: many short ones where the statistics are undecided, few deep ones where they are sure.
    Without a table the text alone is counted.  No network runs.
    Source: ADED (arXiv:2407.12021), with a best-first search in place of its Monte Carlo tree
    search, which looks for the same paths; an occurrence counts once, not once a round.
    """

    name = "trigram-tree"
    order = "position"
    branches = True

    nodes: int = option(24, doc="nodes of the tree", check=(at_least(1), at_most(64)))
    depth: int = option(4, doc="tokens of the longest path", check=at_least(1))
    successors: int = option(12, doc="tokens tried after a pair, at most", check=at_least(1))
    gain: float = option(0.04, doc="weight of one occurrence in the text", check=above(0))
    most: float = option(3.0, doc="largest weight of a successor", check=above(0))
    table: str | None = option(
        None,
        doc="safetensors file of counts, by `python -m dlmkit_strategies.trees.count_trigrams`, or "
        "`builtin/guide` for the built-in models; absent: the text alone is counted",
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """A table that is named must be there."""
        table = options["table"]
        if table is not None and not table_file(table).is_file():
            hint = "write it: python -m dlmkit_strategies.trees.count_trigrams MODEL TEXT OUT"
            yield "table", f"names no file: {table!r}", hint

    def alone(self) -> bool:
        """A node is a token."""
        return True

    def begin(self, setting: Setting) -> DraftRun:
        """Read the table.

        Raises:
            RequestError: there is no such file, or it is none, or of another vocabulary.
        """
        info = setting.context.session(setting.verifier.model).info
        if self.table is None:
            return _Looking(self, TrigramTable.counted([]))
        device = setting.canvas.start_B.device
        return _Looking(self, TrigramTable.read(table_file(self.table), info.vocab_size, device))


@attrs.define(eq=False)
class _Level:
    """Nodes of a depth: their last two tokens, and how likely their paths are."""

    pair_BF2: Tensor
    value_BF: Tensor


@attrs.frozen(eq=False)
class _Looking(DraftRun):
    drafter: TrigramTree
    table: TrigramTable

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Look up depth after depth, then keep the likeliest nodes of all."""
        yield from ()
        first_B1 = first_mask(start)[:, None]
        last_B2 = (first_B1 + torch.tensor([-2, -1], device=first_B1.device)).clamp_min(0)
        pair_B12 = start.canvas.tokens_BN.gather(1, last_B2)[:, None]
        sure_B1 = (first_B1 >= 2).double()  # a text of one token has no pair
        level = _Level(pair_B12, sure_B1)
        levels, values = Levels(), []
        for _ in range(self.drafter.depth):
            level, from_BF = self._next(level, start, first_B1)
            levels.add(level.pair_BF2[..., 1], from_BF)
            values.append(level.value_BF)
        value_BD = torch.cat(values, dim=1)
        order_BD = value_BD.argsort(dim=1, descending=True, stable=True)
        rank_BD = order_BD.argsort(dim=1)
        return levels.as_draft((rank_BD < self.drafter.nodes) & (value_BD > 0), start)

    def _next(self, level: _Level, start: Round, first_B1: Tensor) -> tuple[_Level, Tensor]:
        """The likeliest nodes one token on, and which node each of them follows."""
        token_BFC, weight_BFC = self._weighed(level.pair_BF2, start, first_B1)
        total_BF1 = weight_BFC.sum(dim=2, keepdim=True)
        share_BFC = weight_BFC / torch.where(total_BF1 > 0, total_BF1, 1.0)
        value_BM = (level.value_BF[..., None] * share_BFC).flatten(1)
        best_BF = value_BM.argsort(dim=1, descending=True, stable=True)[:, : self.drafter.nodes]
        from_BF = best_BF // token_BFC.shape[2]
        token_BF = token_BFC.flatten(1).gather(1, best_BF).clamp_min(0)
        before_BF = level.pair_BF2[..., 1].gather(1, from_BF)
        pair_BF2 = torch.stack((before_BF, token_BF), dim=2)
        return _Level(pair_BF2, value_BM.gather(1, best_BF)), from_BF

    def _weighed(self, pair_BF2: Tensor, start: Round, first_B1: Tensor) -> tuple[Tensor, Tensor]:
        """Distinct successors of each pair and their weights; weight 0 on filler."""
        canvas, kept = start.canvas, self.drafter.successors
        text_BN = torch.where(canvas.columns_N < first_B1, canvas.tokens_BN, NONE)
        one_BN, two_BN = _behind(text_BN, 1), _behind(text_BN, 2)
        met_BFN = (two_BN[:, None] == pair_BF2[..., :1]) & (one_BN[:, None] == pair_BF2[..., 1:])
        met_BFN = met_BFN & (text_BN != NONE)[:, None]
        place_BFN = torch.where(met_BFN, canvas.columns_N, NONE)
        latest_BFC = place_BFN.topk(min(kept, place_BFN.shape[2]), dim=2).values
        text_BFN = text_BN[:, None].expand_as(place_BFN)
        own_BFC = torch.where(latest_BFC >= 0, text_BFN.gather(2, latest_BFC.clamp_min(0)), NONE)
        listed_BFK, share_BFK = self.table.after(pair_BF2, kept)
        token_BFC = torch.cat((listed_BFK, own_BFC), dim=2)
        weight_BFC = torch.cat((share_BFK, torch.zeros_like(own_BFC).double()), dim=2)
        same_BFCN = token_BFC[..., None] == text_BN[:, None, None]
        count_BFC = (same_BFCN & met_BFN[:, :, None]).sum(dim=3).double()
        weight_BFC = (weight_BFC + self.drafter.gain * count_BFC).clamp_max(self.drafter.most)
        twin_BFCC = token_BFC[..., None] == token_BFC[..., None, :]
        again_BFC = (twin_BFCC & torch.ones_like(twin_BFCC[0, 0]).tril(-1)).any(dim=3)
        return token_BFC, torch.where(again_BFC | (token_BFC == NONE), 0.0, weight_BFC)


def _behind(text_BN: Tensor, steps: int) -> Tensor:
    """What stands so many positions to the left."""
    return torch.nn.functional.pad(text_BN, (steps, 0), value=NONE)[:, :-steps]
