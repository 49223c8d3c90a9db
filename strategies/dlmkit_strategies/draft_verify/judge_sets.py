"""Judges made of judges.

Legend: B rows, E entries.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import attrs

from dlmkit.component import option
from dlmkit.draft_verify.roles import Judge
from dlmkit.draft_verify.verdict import Verdict
from dlmkit.need import Need

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.evidence import Evidence
    from dlmkit.draft_verify.round import Round

__all__ = ["AllJudges", "AnyJudge"]


def _two_or_more(members: Sequence[Judge]) -> str | None:
    return None if len(members) >= 2 else "must have at least two members"


@attrs.frozen
class _Panel(Judge):
    """What the members declare, together; what they write, the first one says."""

    of: tuple[Judge, ...] = option(
        doc="the judges; the first one's tokens are written", check=_two_or_more
    )

    @staticmethod
    @abstractmethod
    def together(one: Tensor, other: Tensor) -> Tensor:
        """What two verdicts come to, bool."""

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """What the verdicts of all members come to."""
        verdicts = [member.judge(draft, evidence, start) for member in self.of]
        ok_BE = reduce(self.together, (verdict.ok_BE for verdict in verdicts))
        return Verdict(ok_BE=ok_BE, token_BE=verdicts[0].token_BE)

    @property
    def needs_steps(self) -> bool:  # type: ignore[override] # here it depends on the members
        """Whether a member compares steps."""
        return any(member.needs_steps for member in self.of)

    @property
    def laws(self) -> bool:  # type: ignore[override] # here it depends on the members
        """Whether a member reads the drafter's distributions."""
        return any(member.laws for member in self.of)

    @property
    def coupled(self) -> bool:  # type: ignore[override] # here it depends on the members
        """Whether a member reads the noise that guesses were drawn with."""
        return any(member.coupled for member in self.of)

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

    @staticmethod
    def together(one: Tensor, other: Tensor) -> Tensor:
        """The union of the verdicts."""
        return one | other


@attrs.frozen
class AllJudges(_Panel):
    """Pass what all of several judges pass."""

    name = "all"

    @staticmethod
    def together(one: Tensor, other: Tensor) -> Tensor:
        """The intersection of the verdicts."""
        return one & other
