"""A causal network that drafts: the law of the next token after several texts, in one pass.

Legend: B rows, N canvas positions, D nodes of a depth, F texts, V vocabulary.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.draft_verify.round import Round, Setting
from dlmkit.errors import RequestError
from dlmkit.need import Need
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.view import BlockSpan
from dlmkit_strategies.trees.shapes import first_mask

__all__ = ["CausalDrafter", "noise_of"]


@attrs.define(eq=False)
class CausalDrafter:
    """A drafting network at work; `stored_BN` is what its session holds.

    `model` is its name in the spec; `temperature` divides its logits.
    """

    model: str
    temperature: float
    session: Session
    stored_BN: Tensor

    @classmethod
    def begin(cls, model: str, temperature: float, setting: Setting) -> CausalDrafter:
        """Open a session of its own.

        Raises:
            RequestError: the two networks have different vocabularies, or the drafter is not
                causal.
        """
        session = setting.context.session(model).sibling()
        verifier = setting.context.session(setting.verifier.model).info
        if session.info.attention.kind != "causal":
            raise RequestError(
                f"drafter '{model}' is not causal, and a tree is drafted from left to right",
                hint="use an autoregressive model",
            )
        if session.info.vocab_size != verifier.vocab_size:
            raise RequestError(
                f"drafter '{model}' has {session.info.vocab_size} tokens, verifier "
                f"'{setting.verifier.model}' {verifier.vocab_size}",
                hint="use models of one vocabulary",
            )
        return cls(model, temperature, session, torch.zeros_like(setting.canvas.inside_BN))

    def going(self, start: Round, depth: int) -> tuple[Tensor, Tensor]:
        """The position that is drafted at a depth, `place_B1`, and rows that draft there, bool."""
        place_B = first_mask(start) + depth
        room_B = place_B < start.canvas.length_B
        last = start.canvas.tokens_BN.shape[1] - 1
        going_B = start.live_B & room_B & (start.budget_B > depth)
        return place_B.clamp_max(last)[:, None], going_B

    def laws(self, start: Round, texts: list[Tensor], place_B1: Tensor, going_B: Tensor) -> Tensor:
        """Log-probabilities of the next token of every text, `law_BFV` float64."""
        canvas, columns_N, first_B1 = (
            start.canvas,
            start.canvas.columns_N,
            first_mask(start)[:, None],
        )
        known_BN = (columns_N < first_B1) & going_B[:, None]
        source_B1 = place_B1 - self.session.info.logit_shift
        # What predicts the next token is fed, even if it is known and stored already.
        begin_B1 = first_B1.minimum(source_B1)
        drafted_BN = (columns_N >= begin_B1) & (columns_N <= source_B1)
        fed_BN = (known_BN & ~self.stored_BN) | (drafted_BN & going_B[:, None])
        keep_BN = known_BN if len(texts) == 1 else None
        plan = Plan.of(fed_BN, cached_BN=self.stored_BN, commit_BN=keep_BN)
        asked_B1 = going_B[:, None]
        found = self.session.predict(texts, canvas, place_B1, plan, Need(logits=True), asked_B1)
        if keep_BN is not None:
            self.stored_BN = self.stored_BN | known_BN
        logits = [each.logits_BPV for each in found if each.logits_BPV is not None]
        logits_BFV = torch.cat(logits, dim=1).double() / self.temperature
        if self.session.info.mask_id is not None:
            logits_BFV[..., self.session.info.mask_id] = -torch.inf
        return logits_BFV.log_softmax(dim=-1)

    def record(
        self, start: Round, text_BN: Tensor, place_B1: Tensor, going_B: Tensor
    ) -> StepRecord:
        """A pass, shown with one text of the tree that has reached this place."""
        place_B, token_B1 = place_B1[:, 0], text_BN.gather(1, place_B1)
        return StepRecord(
            step=start.number,
            network=self.model,
            counts=self.session.counts,
            before_BN=start.canvas.tokens_BN,
            after_BN=torch.where(going_B[:, None], text_BN, start.canvas.tokens_BN),
            positions_BP=place_B1,
            proposals_BP=token_B1,
            confidence_BP=torch.zeros_like(token_B1, dtype=torch.float64),
            live_B=going_B,
            block=BlockSpan(place_B, place_B + 1, place_B - start.canvas.start_B, 1),
            phase="draft",
        )


def noise_of(drafter: str, law_BFV: Tensor, place_B1: Tensor, start: Round) -> Tensor:
    """Gumbel noise for the next token of every text, `noise_BFV`; each draws numbers of its own."""
    texts, vocabulary = law_BFV.shape[1:]
    streams = [f"{drafter}-{text}" for text in range(texts)]
    drawn = [start.noise.gumbel_BPV(each, place_B1, vocabulary) for each in streams]
    return torch.cat(drawn, dim=1)
