"""Transfer rules made of transfer rules.

Legend: B rows, P window positions.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.combinators.members import Combined, at_least_two
from dlmkit.component import option
from dlmkit.roles import TransferRule

if TYPE_CHECKING:
    from dlmkit.view import View

__all__ = ["FallbackTransfer", "IntersectTransfer", "UnionTransfer"]


class _Patient(Combined, TransferRule):
    """Rules of which one that always commits is enough."""

    of: tuple[TransferRule, ...]

    @property
    def may_wait(self) -> bool:  # type: ignore[override] # here it depends on the members
        """It waits only where all of them do."""
        return all(rule.may_wait for rule in self.of)


@attrs.frozen
class UnionTransfer(_Patient):
    """Commit what any of the rules selects."""

    name = "union"

    of: tuple[TransferRule, ...] = option(doc="the rules", check=at_least_two)

    def steps_per_block(self, width: int) -> int | None:
        """Where all may wait, the first to decide everything; else not fixed."""
        return _earliest(self.of, width) if self.may_wait else None

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Positions that some rule selects."""
        return reduce(torch.logical_or, (rule.select(confidence_BP, view) for rule in self.of))


@attrs.frozen
class IntersectTransfer(Combined, TransferRule):
    """Commit what all of the rules select; where they agree on nothing, the surest position.

    Without that last clause two rules that never agree would decode for ever.
    """

    name = "intersect"

    of: tuple[TransferRule, ...] = option(doc="the rules", check=at_least_two)

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Positions that every rule selects, and at least one in each row."""
        selected = (rule.select(confidence_BP, view) for rule in self.of)
        commit_BP = reduce(torch.logical_and, selected) & view.eligible_BP
        empty_B1 = ~commit_BP.any(dim=1, keepdim=True)
        return commit_BP | (empty_B1 & _surest(confidence_BP, view.eligible_BP))


@attrs.frozen
class FallbackTransfer(_Patient):
    """Use the first of the rules that commits anything, for each row on its own."""

    name = "fallback"

    of: tuple[TransferRule, ...] = option(doc="the rules, preferred first", check=at_least_two)

    def steps_per_block(self, width: int) -> int | None:
        """Where all may wait, the steps of the first, which then decides everything."""
        return self.of[0].steps_per_block(width) if self.may_wait else None

    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """The selection of the first rule that is not empty in the row."""
        commit_BP = torch.zeros_like(view.eligible_BP)
        for rule in self.of:
            empty_B1 = ~commit_BP.any(dim=1, keepdim=True)
            commit_BP = commit_BP | (empty_B1 & rule.select(confidence_BP, view) & view.eligible_BP)
        return commit_BP


def _earliest(rules: tuple[TransferRule, ...], width: int) -> int | None:
    fixed = [steps for rule in rules if (steps := rule.steps_per_block(width)) is not None]
    return min(fixed, default=None)


def _surest(confidence_BP: Tensor, eligible_BP: Tensor) -> Tensor:
    """One eligible position for each row, ties to the lowest; finite floors outrank the rest."""
    floor = torch.finfo(confidence_BP.dtype).min
    ranked_BP = confidence_BP.clamp_min(floor).masked_fill(~eligible_BP, -torch.inf)
    best_B1 = ranked_BP.argmax(dim=1, keepdim=True)
    return torch.zeros_like(eligible_BP).scatter(1, best_B1, value=True) & eligible_BP
