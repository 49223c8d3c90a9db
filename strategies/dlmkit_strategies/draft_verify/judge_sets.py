"""Judges made of judges.

Legend: B rows, E entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import attrs
import torch

from dlmkit.component import option
from dlmkit.draft_verify.roles import Judge
from dlmkit.draft_verify.verdict import Verdict
from dlmkit.need import Need

if TYPE_CHECKING:
    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.evidence import Evidence
    from dlmkit.draft_verify.round import Round

__all__ = ["AllJudges", "AnyJudge"]


def _two_or_more(members: Sequence[Judge]) -> str | None:
    return None if len(members) >= 2 else "must have at least two members"


class _Panel(Judge):
    """What the members declare, together; what they write, the first one says."""

    of: tuple[Judge, ...]

    @property
    def needs_steps(self) -> bool:  # type: ignore[override] # here it depends on the members
        """Whether a member compares steps."""
        return any(member.needs_steps for member in self.of)

    @property
    def laws(self) -> bool:  # type: ignore[override] # here it depends on the members
        """Whether a member reads the drafter's distributions."""
        return any(member.laws for member in self.of)

    @property
    def drawn(self) -> bool:  # type: ignore[override] # here it depends on the members
        """Whether a member takes guesses for drawn."""
        return any(member.drawn for member in self.of)

    @property
    def replaces(self) -> bool:  # type: ignore[override] # here it depends on the members
        """Whether a member draws replacements."""
        return any(member.replaces for member in self.of)

    def needs(self) -> Need:
        """Everything that the members read."""
        return Need.union(member.needs() for member in self.of)


@attrs.frozen
class AnyJudge(_Panel):
    """Pass what one of several judges passes."""

    name = "any"

    of: tuple[Judge, ...] = option(
        doc="the judges; the first one's tokens are written", check=_two_or_more
    )

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """The union of the verdicts."""
        verdicts = [member.judge(draft, evidence, start) for member in self.of]
        ok_BE = reduce(torch.logical_or, (verdict.ok_BE for verdict in verdicts))
        return Verdict(ok_BE=ok_BE, token_BE=verdicts[0].token_BE)


@attrs.frozen
class AllJudges(_Panel):
    """Pass what all of several judges pass."""

    name = "all"

    of: tuple[Judge, ...] = option(
        doc="the judges; the first one's tokens are written", check=_two_or_more
    )

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """The intersection of the verdicts."""
        verdicts = [member.judge(draft, evidence, start) for member in self.of]
        ok_BE = reduce(torch.logical_and, (verdict.ok_BE for verdict in verdicts))
        return Verdict(ok_BE=ok_BE, token_BE=verdicts[0].token_BE)
