"""Guesses that the verifier itself has made behind what it checked.

Legend: B rows, M prompt tokens, K candidates, D nodes, X states (the canvas, then the nodes), T
trees.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.bounds import at_least, at_most, each, not_empty
from dlmkit.component import option
from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.errors import RequestError
from dlmkit.need import Need
from dlmkit_strategies.prompt_tokens.tree_states import TreeState, tree_states
from dlmkit_strategies.trees.shapes import first_mask, grown

__all__ = ["PromptedTree"]

NONE = -1
"""The rank of a node that is none."""

_SHARE = each(each(at_least(0)))
_MOST = each(each(at_most(1)))


@attrs.frozen(kw_only=True)
class PromptedTree(Drafter):
    """A tree of what the verifier's prompt tokens said behind the node that was reached.

    No network of its own: each pass of the verifier checks a tree and guesses the next one.  Nodes
    carry different numbers of prompt tokens, and how many the last node that stood has carried says
    how deep the next tree is.  Trees and numbers are those that bring the most tokens a pass if the
    r-th candidate at distance d is right with probability `agreement[d][r]`, as the training script
    measures it.
    Source: parallel prompt decoding (arXiv:2405.18628), with one embedding for each distance.
    """

    name = "prompted-tree"
    order = "position"
    branches = True
    needs_view = frozenset({"nodes"})

    agreement: tuple[tuple[float, ...], ...] = option(
        doc="how often each candidate is right, for each prompt token",
        check=(not_empty, each(not_empty), _SHARE, _MOST),
        examples=(((0.5, 0.2), (0.4,)),),
    )
    size: int = option(
        24, doc="guesses and prompt tokens in a pass, together", check=(at_least(1), at_most(128))
    )

    def needs(self) -> Need:
        """As many candidates as are ever tried."""
        return Need(top=max(map(len, self.agreement)))

    def alone(self) -> bool:
        """A node is a token."""
        return True

    def begin(self, setting: Setting) -> DraftRun:
        """Nothing is guessed yet.

        Raises:
            RequestError: the verifier's model has fewer prompt tokens than the tree has depths.
        """
        info = setting.context.session(setting.verifier.model).info
        if len(info.prompt_ids) < len(self.agreement):
            raise RequestError(
                f"the tree is {len(self.agreement)} deep, and model '{setting.verifier.model}' has "
                f"{len(info.prompt_ids)} prompt tokens",
                hint="derive it with some: `{derive: {from: base, prompt_tokens: builtin/guide}}`",
            )
        start_B = setting.canvas.start_B
        nothing_B = torch.zeros_like(start_B)
        trees = _Trees.of(tree_states(self.size, self.agreement), start_B.device)
        return _Remembered(trees, torch.full_like(start_B, -1), nothing_B, None)


@attrs.frozen(eq=False)
class _Trees:
    """The trees of all states side by side, int64, filled up with nodes that are none."""

    parent_TD: Tensor
    rank_TD: Tensor
    depth_TD: Tensor
    prompts_TX: Tensor

    @classmethod
    def of(cls, states: Sequence[TreeState], device: torch.device) -> _Trees:
        """From the trees for none, one, two ... guessed distances."""
        nodes = max(len(state.shape.parents) for state in states)

        def table(rows: Sequence[Sequence[int]], width: int, filler: int) -> Tensor:
            wide = [[*row, *[filler] * (width - len(row))] for row in rows]
            return torch.tensor(wide, dtype=torch.int64, device=device).reshape(-1, width)

        return cls(
            parent_TD=table([state.shape.parents for state in states], nodes, ROOT),
            rank_TD=table([state.shape.ranks for state in states], nodes, NONE),
            depth_TD=table([state.shape.depths for state in states], nodes, 1),
            prompts_TX=table([state.prompts for state in states], nodes + 1, 0),
        )

    @property
    def distances(self) -> int:
        """How many distances are ever guessed."""
        return len(self.parent_TD) - 1


@attrs.define(eq=False)
class _Remembered(DraftRun):
    """What was guessed, `top_BMK`: so many distances from a position on; elsewhere it is void."""

    trees: _Trees
    place_B: Tensor
    count_B: Tensor
    top_BMK: Tensor | None

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Lay the guesses out as the tree of their number."""
        yield from ()
        here_B = (first_mask(start) == self.place_B) & start.live_B
        tree_B = torch.where(here_B, self.count_B, 0)
        prompts_BX = self.trees.prompts_TX[tree_B]
        if self.top_BMK is None:
            empty = Draft.empty(len(tree_B), tree_B.device)
            return attrs.evolve(empty, behind_BX=prompts_BX[:, :1])
        depth_BD, rank_BD = self.trees.depth_TD[tree_B], self.trees.rank_TD[tree_B]
        row_B1 = torch.arange(len(tree_B), device=tree_B.device)[:, None]
        draft = grown(
            self.trees.parent_TD[tree_B],
            depth_BD,
            self.top_BMK[row_B1, depth_BD - 1, rank_BD.clamp_min(0)],
            rank_BD != NONE,
            start,
        )
        used_BX = torch.nn.functional.pad(draft.used_BD, (1, 0), value=True)
        return attrs.evolve(draft, behind_BX=torch.where(used_BX, prompts_BX, 0))

    def settle(self, result: RoundResult) -> None:
        """Read what was said behind the node that stands, past the token that follows it."""
        draft, canvas = result.draft, result.round.canvas
        kept_BN = draft.written(canvas, result.resolution.keep_BE)
        state_B1 = result.evidence.state_B(kept_BN)[:, None]
        last = kept_BN.shape[1] - 1
        open_BN = kept_BN == canvas.mask_id
        next_B = torch.where(open_BN, canvas.columns_N, last).amin(dim=1)
        distance_M = torch.arange(1, self.trees.distances + 1, device=next_B.device)
        place_BM = next_B[:, None] + distance_M
        prediction, said_BM = result.evidence.at(
            state_B1.clamp_min(0).expand_as(place_BM), place_BM.clamp_max(last)
        )
        self.top_BMK = prediction.pack.top_ids_BPK
        said_BM = said_BM & (place_BM <= last) & (state_B1 >= 0)
        self.count_B = said_BM.long().cumprod(dim=1).sum(dim=1)
        self.place_B = next_B + 1
