"""Rounds: what the parts of a draft-verify procedure are told, before and after a verdict.

Legend: B rows, N canvas positions, E entries.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.noise import Noise

if TYPE_CHECKING:
    from dlmkit.context import Context
    from dlmkit.denoise import Denoise
    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.evidence import Evidence
    from dlmkit.draft_verify.roles import Bridge, DraftSchedule
    from dlmkit.draft_verify.verdict import Resolution, Verdict
    from dlmkit.outcome import Outcome

__all__ = ["Round", "RoundResult", "Setting"]


@attrs.frozen(kw_only=True, eq=False)
class Setting:
    """What a drafter is told when a decode begins.

    `verifier` is the pipeline that checks; `laws` says that somebody reads the drafter's whole
    distributions, `noise` the noise that its tokens were drawn with; `bridge` carries tokens where
    the drafter's model has a vocabulary of its own.
    """

    context: Context
    canvas: Canvas
    verifier: Denoise
    laws: bool = False
    noise: bool = False
    bridge: Bridge | None = None


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Round:
    """The beginning of a round.

    `number` counts the rounds of this decode, the same for every row; `canvas` is what stands;
    `noise` are this round's random numbers; `budget_B` int64 is the number of steps each row may
    draft, 0 in rows that do not take part.
    """

    number: int
    canvas: Canvas
    noise: Noise
    budget_B: Tensor
    schedule: DraftSchedule

    @cached_property
    def live_B(self) -> Tensor:
        """Rows that are still decoded, bool."""
        return (self.canvas.masked_BN & self.canvas.undone_B1).any(dim=1)


@attrs.frozen(kw_only=True, eq=False, slots=False)
class RoundResult:
    """The end of a round.

    `raw` is what was drafted, `draft` what refiners left of it and the verifier was shown.
    `before_BN` is the canvas at its start, `written_BN` with what stands of the draft, and
    `after_BN` with the verifier's own `step` in rows that took one.
    """

    round: Round
    raw: Draft
    draft: Draft
    evidence: Evidence
    verdict: Verdict
    resolution: Resolution
    before_BN: Tensor
    written_BN: Tensor
    after_BN: Tensor
    step: Outcome

    @cached_property
    def proposed_B(self) -> Tensor:
        """Entries that were drafted, int64."""
        return self.draft.valid_BE.sum(dim=1)

    @cached_property
    def kept_B(self) -> Tensor:
        """Entries that were kept as drafted, int64."""
        return self.resolution.keep_BE.sum(dim=1)

    @cached_property
    def whole_B(self) -> Tensor:
        """Rows whose draft was kept to the last entry, bool; also those without a draft."""
        return self.kept_B == self.proposed_B
