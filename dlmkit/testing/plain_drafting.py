"""The plainest parts of a draft-verify procedure, to put a tested one between.

Legend: B rows, N canvas positions, P window positions, E entries, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.component import Component
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.evidence import Evidence
from dlmkit.draft_verify.roles import (
    Bonus,
    Drafter,
    DraftRun,
    DraftSchedule,
    Judge,
    Look,
    Resolver,
    Scope,
    Sight,
)
from dlmkit.draft_verify.round import Round, Setting
from dlmkit.draft_verify.verdict import Resolution, Verdict
from dlmkit.need import Need
from dlmkit.prediction import Prediction
from dlmkit.roles import TokenSampler
from dlmkit.view import View

__all__ = [
    "PLAIN_DRAFTING",
    "Dice",
    "DrawnToken",
    "EveryRow",
    "PassedOnly",
    "SameStep",
    "SameToken",
    "StepByStep",
    "ThreeSteps",
    "UpToFailure",
]


@attrs.frozen
class DrawnToken(TokenSampler):
    """A draw from the distribution without the mask.

    Source: dlmkit.
    """

    name = "drawn-token"
    need = Need(logits=True)
    stochastic = True

    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """By the Gumbel-max rule."""
        logp_BPV = self.law(prediction, view)
        return (logp_BPV + view.gumbel_BPV(self.name, logp_BPV.shape[-1])).argmax(dim=-1)

    def law(self, prediction: Prediction, view: View) -> Tensor:
        """The softmax over all tokens but the mask."""
        logits_BPV = prediction.filtered.logits_BPV
        assert logits_BPV is not None
        token_V = torch.arange(logits_BPV.shape[-1], device=logits_BPV.device)
        masked_BPV = logits_BPV.double().masked_fill(token_V == view.canvas.mask_id, -torch.inf)
        return masked_BPV.log_softmax(dim=-1)


@attrs.frozen
class Dice(Drafter):
    """Any tokens at the first masks, one after the other, each as likely as the next.

    Source: dlmkit.
    """

    name = "dice"
    order = "position"
    tells_laws = True

    def begin(self, setting: Setting) -> DraftRun:
        """Find out how many sides the dice have."""
        model = setting.verifier.model
        return _Throws(setting.context.session(model).info.vocab_size)

    def sampled(self) -> bool:
        """They are fair."""
        return True

    def alone(self) -> bool:
        """One throw after the other."""
        return True


@attrs.frozen
class _Throws(DraftRun):
    vocabulary: int

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """A chain of throws."""
        yield from ()
        canvas, width = start.canvas, min(4, start.canvas.tokens_BN.shape[1])
        order_BN = canvas.masked_BN.int().argsort(dim=1, descending=True, stable=True)
        position_BE = order_BN[:, :width]
        budget_BE = torch.arange(width, device=order_BN.device) < start.budget_B[:, None]
        token_V = torch.arange(self.vocabulary, device=order_BN.device)
        even_V = torch.zeros(self.vocabulary, dtype=torch.float64, device=order_BN.device)
        law_V = even_V.masked_fill(token_V == canvas.mask_id, -torch.inf).log_softmax(dim=0)
        law_BEV = law_V.expand(*position_BE.shape, -1)
        noise_BEV = start.noise.gumbel_BPV("dice", position_BE, self.vocabulary)
        token_BE = (law_BEV + noise_BEV).argmax(dim=-1)
        chain = Draft.chain(
            position_BE,
            token_BE,
            canvas.masked_BN.gather(1, position_BE) & budget_BE,
            logp_BE=law_BEV.gather(-1, token_BE[..., None])[..., 0],
            law_BEV=law_BEV,
        )
        return attrs.evolve(chain, noise_BEV=noise_BEV)


@attrs.frozen
class StepByStep(Sight):
    """The canvas and every node.

    Source: dlmkit.
    """

    name = "step-by-step"
    steps = True
    branches = True

    def look(self, draft: Draft, start: Round) -> Look:
        """One row for each."""
        return Look.of_states(draft, start)


@attrs.frozen
class SameToken(Judge):
    """Passes what the verifier would write.

    Source: dlmkit.
    """

    name = "same-token"

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Equal tokens."""
        return Verdict(ok_BE=draft.token_BE == evidence.choice_BE, token_BE=evidence.choice_BE)


@attrs.frozen
class SameStep(Judge):
    """Passes a state to which the verifier's own step leads.

    Source: dlmkit.
    """

    name = "same-step"
    needs_steps = True
    exact = True

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Equal canvases."""
        look = evidence.look
        assert look.state_BD is not None
        reached_BEN = _picked(evidence.next_BXN, look.rates_BE)
        ok_BE = (reached_BEN == _picked(look.tokens_BXN, draft.of_nodes(look.state_BD))).all(dim=2)
        return Verdict(ok_BE=ok_BE, token_BE=evidence.choice_BE)


def _picked(values_BXN: Tensor, state_BE: Tensor) -> Tensor:
    return values_BXN.gather(1, state_BE[..., None].expand(-1, -1, values_BXN.shape[2]))


@attrs.frozen
class UpToFailure(Scope):
    """Nothing passes after a failure.

    Source: dlmkit.
    """

    name = "up-to-failure"
    order = "reveal"

    def limit(self, draft: Draft, ok_BE: Tensor) -> Tensor:
        """Whole paths."""
        return draft.of_nodes(draft.whole(ok_BE)) & draft.valid_BE


@attrs.frozen
class PassedOnly(Resolver):
    """Keeps what passed.

    Source: dlmkit.
    """

    name = "passed-only"

    def resolve(self, draft: Draft, passed_BE: Tensor, verdict: Verdict) -> Resolution:
        """Corrects nothing."""
        return Resolution(keep_BE=passed_BE, correct_BE=torch.zeros_like(passed_BE))


@attrs.frozen
class EveryRow(Bonus):
    """Every row takes the verifier's own step.

    Source: dlmkit.
    """

    name = "every-row"

    def rows(self, draft: Draft, resolution: Resolution) -> Tensor:
        """All of them."""
        return resolution.keep_BE.new_ones(len(resolution.keep_BE))


@attrs.frozen
class ThreeSteps(DraftSchedule):
    """Three steps in every round.

    Source: dlmkit.
    """

    name = "three-steps"

    def start(self) -> float:
        """Three."""
        return 3


PLAIN_DRAFTING: tuple[type[Component], ...] = (
    DrawnToken,
    Dice,
    StepByStep,
    SameToken,
    SameStep,
    UpToFailure,
    PassedOnly,
    EveryRow,
    ThreeSteps,
)
"""Every plain part."""
