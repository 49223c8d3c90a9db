"""Commit guards: the last word on a selection.

Legend: B rows, P window positions.
"""

from __future__ import annotations

import attrs
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.roles import CommitGuard
from dlmkit.view import View
from dlmkit_strategies.kernels import top_n

__all__ = ["AtLeast", "AtMost"]


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

    count: int = option(20, doc="most commits in each step and row", check=at_least(1))

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Drop the least confident positions."""
        return top_n(confidence_BP, commit_BP, self.count)
