"""Chains: several edits in order as one, for use inside another combinator.

Legend: B rows, P window positions, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from dlmkit.combinators.members import Combined, at_least_two
from dlmkit.component import option
from dlmkit.roles import CommitGuard, LogitsTransform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from dlmkit.view import View

__all__ = ["ChainGuard", "ChainLogits"]


@attrs.frozen
class ChainGuard(Combined, CommitGuard):
    """Apply several guards, each to the selection that the one before left."""

    name = "chain"

    of: tuple[CommitGuard, ...] = option(doc="the guards, in order", check=at_least_two)

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """The selection after the last guard."""
        for member in self.of:
            commit_BP = member.guard(commit_BP, confidence_BP, view) & view.eligible_BP
        return commit_BP


@attrs.frozen
class ChainLogits(Combined, LogitsTransform):
    """Apply several transforms of the same stage in order."""

    name = "chain"

    of: tuple[LogitsTransform, ...] = option(doc="the transforms, in order", check=at_least_two)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse transforms of different stages, which run at different times."""
        if len({member.stage for member in options["of"]}) > 1:
            hint = "list them in `logits` one by one"
            yield "of", "a chain holds transforms of one stage, score or sampling", hint

    @property
    def stage(self) -> Literal["score", "sampling"]:  # type: ignore[override] # the members' own
        """The stage that the members share."""
        return self.of[0].stage

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """The logits after the last transform."""
        for member in self.of:
            logits_BPV = member.edit(logits_BPV, view)
        return logits_BPV
