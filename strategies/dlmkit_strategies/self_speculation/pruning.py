"""Refiners that keep the promising part of a draft.

Legend: B rows, D nodes, E entries.
"""

from __future__ import annotations

import attrs
import torch

from dlmkit.bounds import at_least
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Refiner
from dlmkit.draft_verify.round import Round
from dlmkit.errors import StrategyError

__all__ = ["PruneByMean"]


@attrs.frozen
class PruneByMean(Refiner):
    """Keep the states whose tokens the drafter finds likely, in the geometric mean.

    A state counts as much as the best one behind it, if that is more, so that what leads to a kept
    state is kept.  States that several paths lead to count once; ties go to the one drafted first.
    Source: Spiffy (arXiv:2509.18085), pruning of the draft graph to D* nodes.
    """

    name = "prune-geomean"

    most: int = option(8, doc="states that are kept", check=at_least(1))

    def refine(self, draft: Draft, start: Round) -> Draft:
        """Drop all other states.

        Raises:
            StrategyError: the drafter does not say how likely its tokens are.
        """
        if not draft.nodes:
            return draft
        if draft.logp_BE is None:
            raise StrategyError(
                f"refiner {self.name!r} reads how likely guesses are, and this drafter tells not",
                hint="draft with rank-graph or model-steps, or leave it out",
            )
        path_BDD = draft.reach_BDD.double()
        tokens_BD = draft.per_node(torch.ones_like(draft.logp_BE.double()))
        logp_BD = draft.per_node(draft.logp_BE.double().clamp_min(_LEAST))
        count_BD = (path_BDD * tokens_BD[:, None]).sum(dim=2).clamp_min(1)
        mean_BD = (path_BDD * logp_BD[:, None]).sum(dim=2) / count_BD
        behind_BDD = draft.reach_BDD & draft.used_BD[:, :, None]
        best_BD = torch.where(behind_BDD, mean_BD[:, :, None], -torch.inf).amax(dim=1)
        kept_BD = self._best(draft, best_BD)
        gone_BD = (draft.reach_BDD & ~kept_BD[:, None]).any(dim=2)
        return attrs.evolve(draft, valid_BE=draft.valid_BE & ~draft.of_nodes(gone_BD))

    def _best(self, draft: Draft, score_BD: torch.Tensor) -> torch.Tensor:
        """Nodes of the states with the highest scores, bool."""
        place_BX, _ = draft.distinct()
        node_D = torch.arange(draft.nodes, device=score_BD.device)
        state_BD = place_BX[:, 1:]
        same_BDD = state_BD[:, :, None] == state_BD[:, None]
        first_BD = draft.used_BD & (same_BDD.int().argmax(dim=2) == node_D)
        score_BD = torch.where(first_BD, score_BD, -torch.inf)
        order_BD = score_BD.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        chosen_BD = (order_BD < self.most) & first_BD
        return (same_BDD & chosen_BD[:, None]).any(dim=2) & draft.used_BD


_LEAST = -1e9
"""Stands for a token that was ruled out."""
