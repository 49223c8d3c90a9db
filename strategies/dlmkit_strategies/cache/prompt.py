"""A cache of the prompt alone.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch

from dlmkit.component import option
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, cold, source_B, working

__all__ = ["Prompt"]


@attrs.frozen
class Prompt(CachePolicy):
    """Compute the prompt once, in the first step, and the answer in every step.

    With `isolated` the prompt does not see the answer: then it is what a network reads that was
    trained as a prefix language model, and an approximation for any other.  Without, its keys and
    values are those next to an answer of masks.  In logit-shifted families the prompt's last
    position, which predicts the answer's first, is computed with the answer.
    Source: LaViDa (arXiv:2505.16839), `prefix_lm`; dKV-Cache (arXiv:2505.15781), dKV-Cache-Prefill.
    """

    name = "prompt"

    isolated: bool = option(True, doc="hide the answer from the prompt")

    def plan(self, view: View) -> Plan:
        """Everything in the first step, then the answer."""
        begin_B = source_B(view, view.canvas.start_B)
        answer_BN = between(view, begin_B, view.canvas.length_B)
        if view.step and view.taken_B is None:
            return Plan.of(answer_BN & working(view), cached_BN=~answer_BN)
        cold_B = torch.zeros_like(view.canvas.done_B) | cold(view)
        return Plan.of(
            (answer_BN | cold_B[:, None]) & working(view),
            cached_BN=~answer_BN & ~cold_B[:, None],
            commit_BN=~answer_BN & cold_B[:, None],
            prefix_B=begin_B * cold_B if self.isolated else None,
        )

    def provides(self) -> Literal["region"]:
        """Every pass covers the answer."""
        return "region"

    def exact(self) -> bool:
        """The prompt never sees the answer's tokens."""
        return False

    def forks(self) -> bool:
        """The prompt is stored once, and read alike by every later state."""
        return True
