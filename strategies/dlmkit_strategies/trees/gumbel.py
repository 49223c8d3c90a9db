"""Recursive speculative decoding: a tree of distinct draws from a causal drafter.

Legend: B rows, N canvas positions, D nodes, F nodes of a depth, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, each, not_empty
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, Setting
from dlmkit.errors import RequestError
from dlmkit.need import Need
from dlmkit.plan import Plan
from dlmkit.records import StepRecord
from dlmkit.session import Session
from dlmkit.view import BlockSpan
from dlmkit_strategies.trees.shapes import as_draft, balanced, first_mask

__all__ = ["GumbelTree"]


@attrs.frozen(kw_only=True)
class GumbelTree(Drafter):
    """Children drawn without replacement from a causal drafter, at every node anew.

    A node's children are the tokens of largest log q + Gumbel noise, in falling order, so that the
    judge `recursive` can try them one after the other and keep the verifier's law exactly.  Nodes
    of a depth are rows of one pass of the drafter, over stored keys and values of the text.
    Source: recursive speculative decoding (arXiv:2402.14160), RSD-C with branching b.
    """

    name = "gumbel-tree"
    order = "position"
    branches = True
    requires = frozenset({"causal"})

    model: str = option("main", doc="name of the drafting network in `models`")
    widths: tuple[int, ...] = option(
        (2, 2, 1), doc="children of a node at each depth", check=(not_empty, each(at_least(1)))
    )
    temperature: float = option(1.0, doc="divides the drafter's logits", check=above(0))

    def begin(self, setting: Setting) -> DraftRun:
        """Open a session of its own.

        Raises:
            RequestError: the two networks have different vocabularies, or the drafter is not
                causal.
        """
        session = setting.context.session(self.model).sibling()
        verifier = setting.context.session(setting.verifier.model).info
        if session.info.attention.kind != "causal":
            raise RequestError(
                f"drafter '{self.model}' is not causal, and a tree is drafted from left to right",
                hint="use an autoregressive model",
            )
        if session.info.vocab_size != verifier.vocab_size:
            raise RequestError(
                f"drafter '{self.model}' has {session.info.vocab_size} tokens, verifier "
                f"'{setting.verifier.model}' {verifier.vocab_size}",
                hint="use models of one vocabulary",
            )
        return _Growing(self, session, torch.zeros_like(setting.canvas.inside_BN))

    def sampled(self) -> bool:
        """Every token is drawn from the law that is reported."""
        return True

    def alone(self) -> bool:
        """A node is a token."""
        return True


@attrs.define(eq=False)
class _Growing(DraftRun):
    """A drafter at work; `stored_BN` is what its session holds."""

    drafter: GumbelTree
    session: Session
    stored_BN: Tensor

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Grow the tree depth by depth, each in one pass."""
        canvas, first_B, name = start.canvas, first_mask(start), self.drafter.name
        texts, tokens, laws = [canvas.tokens_BN], [], []
        for depth, width in enumerate(self.drafter.widths):
            room_B = first_B + depth < canvas.length_B
            going_B = start.live_B & room_B & (start.budget_B > depth)
            if not bool(going_B.any()):
                break
            place_B1 = (first_B + depth).clamp_max(canvas.tokens_BN.shape[1] - 1)[:, None]
            law_BFV = self._laws(start, texts, first_B, place_B1, going_B)
            streams = [f"{name}-{node}" for node in range(len(texts))]
            vocabulary = law_BFV.shape[-1]
            noise_BFV = torch.cat(
                [start.noise.gumbel_BPV(each, place_B1, vocabulary) for each in streams], dim=1
            )
            drawn_BFV = (law_BFV + noise_BFV).argsort(dim=-1, descending=True, stable=True)
            child_BD = drawn_BFV[..., :width].flatten(1)
            tokens.append(child_BD)
            laws.append(law_BFV.repeat_interleave(width, dim=1))
            parents = [text for text in texts for _ in range(width)]
            texts = [
                text.scatter(1, place_B1, token_B[:, None])
                for text, token_B in zip(parents, child_BD.unbind(dim=1), strict=True)
            ]
            yield self._record(start, texts[0], place_B1, child_BD[:, :1])
        if not tokens:
            return Draft.empty(len(first_B), first_B.device)
        token_BD = torch.cat(tokens, dim=1)
        shape = balanced(self.drafter.widths[: len(tokens)])
        known_BD = torch.ones_like(token_BD, dtype=torch.bool)
        return as_draft(shape, token_BD, known_BD, start, law_BDV=torch.cat(laws, dim=1))

    def _laws(
        self,
        start: Round,
        texts: list[Tensor],
        first_B: Tensor,
        place_B1: Tensor,
        going_B: Tensor,
    ) -> Tensor:
        """Log-probabilities of the next token of every text, `law_BFV` float64."""
        canvas, columns_N = start.canvas, start.canvas.columns_N
        known_BN = (columns_N < first_B[:, None]) & going_B[:, None]
        source_B1 = place_B1 - self.session.info.logit_shift
        # What predicts the next token is fed, even if it is known and stored already.
        begin_B1 = first_B[:, None].minimum(source_B1)
        drafted_BN = (columns_N >= begin_B1) & (columns_N <= source_B1)
        fed_BN = (known_BN & ~self.stored_BN) | (drafted_BN & going_B[:, None])
        keep_BN = known_BN if len(texts) == 1 else None
        plan = Plan.of(fed_BN, cached_BN=self.stored_BN, commit_BN=keep_BN)
        asked_B1 = going_B[:, None]
        found = self.session.predict(texts, canvas, place_B1, plan, Need(logits=True), asked_B1)
        self.stored_BN = self.stored_BN | known_BN
        logits = [each.logits_BPV for each in found if each.logits_BPV is not None]
        logits_BFV = torch.cat(logits, dim=1).double() / self.drafter.temperature
        if self.session.info.mask_id is not None:
            logits_BFV[..., self.session.info.mask_id] = -torch.inf
        return logits_BFV.log_softmax(dim=-1)

    def _record(
        self, start: Round, text_BN: Tensor, place_B1: Tensor, token_B1: Tensor
    ) -> StepRecord:
        """A pass, shown with the first path of the tree."""
        place_B = place_B1[:, 0]
        return StepRecord(
            step=start.number,
            network=self.drafter.model,
            counts=self.session.counts,
            before_BN=start.canvas.tokens_BN,
            after_BN=torch.where(start.live_B[:, None], text_BN, start.canvas.tokens_BN),
            positions_BP=place_B1,
            proposals_BP=token_B1,
            confidence_BP=torch.zeros_like(token_B1, dtype=torch.float64),
            live_B=start.live_B,
            block=BlockSpan(place_B, place_B + 1, place_B - start.canvas.start_B, 1),
            phase="draft",
        )
