"""Guesses that the verifier itself has made behind what it checked.

Legend: B rows, M prompt tokens, K candidates, D nodes.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least, at_most, each, not_empty
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.errors import RequestError
from dlmkit.need import Need
from dlmkit.records import StepRecord
from dlmkit_strategies.trees.shapes import Shape, as_draft, first_mask, likeliest

__all__ = ["PromptedTree"]

_SHARE = each(each(at_least(0)))
_MOST = each(each(at_most(1)))


@attrs.frozen(kw_only=True)
class PromptedTree(Drafter):
    """A tree of what the verifier's prompt tokens said behind the node that was reached.

    No network of its own: each pass of the verifier checks a tree and guesses the next one.  The
    tree is the likeliest if the r-th candidate at distance d is right with probability
    `agreement[d][r]`, as the training script measures it.  In the paper nodes carry different
    numbers of prompt tokens, and as many trees; here every node carries all, so one is enough.
    Source: parallel prompt decoding (arXiv:2405.18628).
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
    nodes: int = option(12, doc="nodes of the tree", check=at_least(1))

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
        nowhere_B = torch.full_like(setting.canvas.start_B, -1)
        return _Remembered(likeliest(self.nodes, self.agreement), nowhere_B, None)


@attrs.define(eq=False)
class _Remembered(DraftRun):
    """What was guessed, `top_BMK`, and the position that it begins at; elsewhere it is void."""

    shape: Shape
    place_B: Tensor
    top_BMK: Tensor | None

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Lay the guesses out as a tree."""
        yield from ()
        if self.top_BMK is None:
            return Draft.empty(len(self.place_B), self.place_B.device)
        depth_D, rank_D = (
            torch.tensor(values, device=self.place_B.device)
            for values in (self.shape.depths, self.shape.ranks)
        )
        token_BD = self.top_BMK[:, depth_D - 1, rank_D]
        known_B1 = (first_mask(start) == self.place_B)[:, None] & start.live_B[:, None]
        return as_draft(self.shape, token_BD, known_B1.expand_as(token_BD), start)

    def settle(self, result: RoundResult) -> None:
        """Read what was said behind the node that stands, past the token that follows it."""
        draft, canvas = result.draft, result.round.canvas
        kept_BN = draft.written(canvas, result.resolution.keep_BE)
        state_B1 = result.evidence.state_B(kept_BN)[:, None]
        last = kept_BN.shape[1] - 1
        open_BN = kept_BN == canvas.mask_id
        next_B = torch.where(open_BN, canvas.columns_N, last).amin(dim=1)
        count = max(self.shape.depths)
        place_BM = next_B[:, None] + torch.arange(1, count + 1, device=next_B.device)
        prediction, _ = result.evidence.at(
            state_B1.clamp_min(0).expand_as(place_BM), place_BM.clamp_max(last)
        )
        self.top_BMK = prediction.pack.top_ids_BPK
        self.place_B = torch.where(state_B1[:, 0] >= 0, next_B + 1, -1)
