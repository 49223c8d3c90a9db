"""Bonuses: rows in which the verifier decides more out of the pass that judged the draft.

Legend: B rows, E entries.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Bonus
from dlmkit.draft_verify.verdict import Resolution

__all__ = ["NextToken", "VerifierStep", "WhenEmpty", "WhenWhole"]


@attrs.frozen
class VerifierStep(Bonus):
    """The verifier's own step in every row.

    It is exact where the state that the round led to was shown (views `states` and `causal`; all
    others where everything was kept, `pre` where nothing was), and a heuristic elsewhere.
    Source: self speculative decoding (arXiv:2510.04147).
    """

    name = "verifier-step"

    def rows(self, draft: Draft, resolution: Resolution) -> Tensor:
        """All of them."""
        return torch.ones_like(draft.valid_BE.any(dim=1))


@attrs.frozen
class NextToken(Bonus):
    """The verifier's own step where it has corrected nothing, so that it decides either way.

    Source: speculative sampling (arXiv:2302.01318).
    """

    name = "next-token"

    def rows(self, draft: Draft, resolution: Resolution) -> Tensor:
        """Rows without a correction."""
        return ~resolution.correct_BE.any(dim=1)


@attrs.frozen
class WhenEmpty(Bonus):
    """Another bonus, only where nothing of the draft was kept or corrected.

    Source: DualDiffusion (arXiv:2604.05250), so that every round makes progress.
    """

    name = "when-empty"

    of: Bonus = option(VerifierStep(), doc="the bonus in rows that came away with nothing")

    def rows(self, draft: Draft, resolution: Resolution) -> Tensor:
        """Rows in which nothing was written."""
        written_B = (resolution.keep_BE | resolution.correct_BE).any(dim=1)
        return self.of.rows(draft, resolution) & ~written_B


@attrs.frozen
class WhenWhole(Bonus):
    """Another bonus, only where the whole draft was kept.

    A pass in which a guess stood that is sent back knows of that guess everywhere, behind a shadow
    too: the other positions have read it.  What it says of the remaining masks is said of a text
    that does not stand.  Source: dlmkit; DualDiffusion (arXiv:2604.05250) says nothing of it.
    """

    name = "when-whole"

    of: Bonus = option(VerifierStep(), doc="the bonus in rows that lost nothing")

    def rows(self, draft: Draft, resolution: Resolution) -> Tensor:
        """Rows in which every guess stands."""
        whole_B = (resolution.keep_BE | ~draft.valid_BE).all(dim=1)
        return self.of.rows(draft, resolution) & whole_B
