"""Commit guards: the last word on a selection.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.roles import CommitGuard
from dlmkit.view import View
from dlmkit_strategies.kernels import rank, top_n

__all__ = ["AtLeast", "AtMost", "Spaced"]


@attrs.frozen
class AtLeast(CommitGuard):
    """Commit the most confident positions too, until a minimum is met in every row.

    Source: dlmkit; Fast-dLLM (arXiv:2505.22618) has the minimum of one built in.
    """

    name = "at-least"

    count: int = option(1, doc="fewest commits in each step and row", check=at_least(1))

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Add the best positions."""
        return commit_BP | top_n(confidence_BP, view.eligible_BP, self.count)


@attrs.frozen
class AtMost(CommitGuard):
    """Keep only the most confident of the selected positions.

    Source: dlmkit.
    """

    name = "at-most"
    drops = True

    count: int = option(20, doc="most commits in each step and row", check=at_least(1))

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Drop the least confident positions."""
        return top_n(confidence_BP, commit_BP, self.count)


@attrs.frozen
class Spaced(CommitGuard):
    """Keep selected positions that are some distance apart, the most confident first.

    A position stays unless a surer one that stays is nearer than the gap; neighbours depend on
    each other most, so what is decided together is then more nearly independent.
    Source: the spaced variants of DUS (arXiv:2506.19037), `apply_spacing_filter`.
    """

    name = "spaced"
    drops = True

    gap: int = option(2, doc="smallest distance of two commits, in positions", check=at_least(1))

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Drop what is too near to something surer."""
        order_BP = -rank(confidence_BP, commit_BP).float()
        left_BP, kept_BP = commit_BP, torch.zeros_like(commit_BP)
        # Each round keeps what is surest in its neighbourhood; as many rounds as can be kept.
        for _ in range(-(-commit_BP.shape[1] // self.gap)):
            score_BP = order_BP.masked_fill(~left_BP, -torch.inf)
            chosen_BP = left_BP & (score_BP == self._near(score_BP))
            kept_BP = kept_BP | chosen_BP
            left_BP = left_BP & (self._near(chosen_BP.float()) == 0)
        return kept_BP

    def _near(self, value_BP: Tensor) -> Tensor:
        """The largest value nearer than the gap."""
        pool = torch.nn.functional.max_pool1d
        return pool(value_BP[:, None], 2 * self.gap - 1, stride=1, padding=self.gap - 1)[:, 0]
