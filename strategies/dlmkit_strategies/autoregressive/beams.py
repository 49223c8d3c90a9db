"""Beams: several texts for every row, whose passes share one plan.

Legend: B rows, N canvas positions, R beams, V vocabulary.
"""

from __future__ import annotations

from typing import Self

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session

__all__ = ["Beams"]


@attrs.define(kw_only=True, eq=False)
class Beams:
    """The beams of every row, and which of their positions the session has stored.

    `tokens_RBN`; `score_RB` log-probability of each text in nats, float64; `gain_RB` that of its
    newest token; `ended_RB` whether it holds a token that ends texts.
    """

    session: Session
    tokens_RBN: Tensor
    score_RB: Tensor
    gain_RB: Tensor
    ended_RB: Tensor
    stored_BN: Tensor

    @classmethod
    def begin(cls, canvas: Canvas, session: Session, beams: int, width: int) -> Self:
        """Equal beams, of which only the first of each `width` counts."""
        rows, device = len(canvas.tokens_BN), canvas.tokens_BN.device
        first_R = torch.arange(beams, device=device) % width == 0
        score_R1 = torch.where(first_R, 0.0, -torch.inf).double()[:, None]
        return cls(
            session=session,
            tokens_RBN=canvas.tokens_BN.repeat(beams, 1, 1),
            score_RB=score_R1.repeat(1, rows),
            gain_RB=torch.zeros(beams, rows, dtype=torch.float64, device=device),
            ended_RB=torch.zeros(beams, rows, dtype=torch.bool, device=device),
            stored_BN=torch.zeros_like(canvas.inside_BN),
        )

    def predict(self, canvas: Canvas, place_B: Tensor, live_B: Tensor) -> Tensor:
        """Run one pass over the newest tokens; each beam's law at its row's place, `logp_RBV`.

        A text that has ended goes on with the token that ends texts, for nothing.
        """
        new_BN = (canvas.columns_N < place_B[:, None]) & canvas.inside_BN & ~self.stored_BN
        new_BN = new_BN & live_B[:, None]
        plan = Plan.of(new_BN, cached_BN=self.stored_BN, commit_BN=new_BN)
        variants, want_B1 = list(self.tokens_RBN), place_B[:, None]
        found = self.session.predict(
            variants, canvas, want_B1, plan, Need(logits=True), live_B[:, None]
        )
        self.stored_BN = self.stored_BN | new_BN
        logits = [each.logits_BPV[:, 0] for each in found if each.logits_BPV is not None]
        logits_RBV = torch.stack(logits).double()
        ids_V = torch.arange(logits_RBV.shape[-1], device=logits_RBV.device)
        logp_RBV = logits_RBV.masked_fill(ids_V == canvas.mask_id, -torch.inf).log_softmax(dim=-1)
        stay_V = torch.where(ids_V == self._ends()[0], 0.0, -torch.inf).to(logp_RBV)
        return torch.where(self.ended_RB[..., None], stay_V, logp_RBV)

    def extend(
        self, parent_RB: Tensor, token_RB: Tensor, logp_RBV: Tensor, place_B: Tensor
    ) -> None:
        """Let each beam continue a parent with a token, at its row's place."""
        beams, rows = parent_RB.shape
        rows_B = torch.arange(rows, device=parent_RB.device)
        self.gain_RB = logp_RBV[parent_RB, rows_B, token_RB]
        self.score_RB = self.score_RB.gather(0, parent_RB) + self.gain_RB
        place_RB1 = place_B[:, None].expand(beams, -1, 1)
        tokens_RBN = self.tokens_RBN[parent_RB, rows_B]
        self.tokens_RBN = tokens_RBN.scatter(2, place_RB1, token_RB[..., None])
        self.ended_RB = self.ended_RB.gather(0, parent_RB) | torch.isin(token_RB, self._ends())
        store = self.session.store
        if store is not None and len(store.tag_BN) == beams * rows:
            store.reorder((parent_RB * rows + rows_B).flatten())

    def write_best(self, canvas: Canvas, live_B: Tensor, step: int) -> None:
        """Let the canvas hold the best text of each row; to its end, where that text has ended.

        A text that has ended cannot be overtaken: what the others add is never above zero.
        """
        columns_BN = canvas.columns_N.expand_as(canvas.tokens_BN)
        index_1BN = self.score_RB.argmax(dim=0)[None, :, None].expand(1, *canvas.tokens_BN.shape)
        best_BN = self.tokens_RBN.gather(0, index_1BN)[0]
        over_BN = self.best(self.ended_RB)[:, None] & (best_BN == canvas.mask_id)
        best_BN = torch.where(over_BN, self._ends()[0], best_BN)
        changed_BN = (best_BN != canvas.tokens_BN) & live_B[:, None]
        canvas.commit(columns_BN, changed_BN, best_BN, step)

    def best(self, values_RB: Tensor) -> Tensor:
        """What the likeliest beam of each row has, `[B]`."""
        return values_RB.gather(0, self.score_RB.argmax(dim=0)[None])[0]

    def _ends(self) -> Tensor:
        """Tokens that end a text, at least one; -1 is no token."""
        info = self.session.info
        ends = (*info.eos_ids, *info.eot_ids) or (-1,)
        return torch.tensor(ends, device=self.score_RB.device)
