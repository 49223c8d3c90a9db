"""A cache of what layers give, renewed where their values turn.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch

from dlmkit.bounds import at_least, at_most
from dlmkit.component import option
from dlmkit.passes.layer_steps import Adapt, LayerSteps
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import between, working

__all__ = ["FeatureCache"]


@attrs.frozen
class FeatureCache(CachePolicy):
    """Keep the outputs of every layer; renew the prompt seldom, the answer often, and what changes.

    Between renewals each layer computes the values of the whole answer, and all else for the
    `share` of it whose values have turned most; the first layer computes everything.  Needs room
    for two outputs of each layer and position beside keys and values.
    Source: dLLM-Cache (arXiv:2506.06295), K_p, K_r and rho; as in its code all values of the answer
    are stored anew.
    """

    name = "dllm-cache"
    by_layer = True
    requires = frozenset({"layer-steps"})

    prompt_every: int = option(
        50, doc="steps from one renewal of the prompt to the next (K_p)", check=at_least(1)
    )
    answer_every: int = option(
        7, doc="steps from one renewal of the answer to the next (K_r)", check=at_least(1)
    )
    share: float = option(
        0.25,
        doc="share of the answer renewed in between, by change (rho)",
        check=(at_least(0), at_most(1)),
    )

    def plan(self, view: View) -> Plan:
        """The whole canvas, layer by layer."""
        answer_BN = between(view, view.canvas.start_B, view.canvas.length_B)
        refresh_BN = torch.zeros_like(answer_BN)
        if view.step % self.prompt_every == 0:
            refresh_BN = refresh_BN | ~answer_BN
        if view.step % self.answer_every == 0:
            refresh_BN = refresh_BN | answer_BN
        adapt = Adapt(
            where_BN=answer_BN & ~refresh_BN & working(view) & (self.share > 0),
            count_B=(answer_BN.sum(dim=1).double() * self.share).long(),
        )
        steps = LayerSteps(refresh_BN=refresh_BN & working(view), adapt=adapt)
        return attrs.evolve(Plan.full(view.tokens_BN), layer_steps=steps)

    def provides(self) -> Literal["region"]:
        """Every position has a prediction, some of them an old one."""
        return "region"

    def freezes(self) -> Literal["tokens", "nothing"]:
        """Whatever has not turned."""
        return "nothing" if self.exact() else "tokens"

    def exact(self) -> bool:
        """Only if everything is renewed in every step."""
        return self.prompt_every == 1 and self.answer_every == 1
