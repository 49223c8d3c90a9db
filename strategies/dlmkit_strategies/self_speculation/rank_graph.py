"""Drafting several ways the verifier may go on, as a graph of states that share rows.

Legend: B rows, P window positions, D nodes, E entries, I positions by rank, J tokens by rank.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.accounts.records import StepRecord
from dlmkit.component import option
from dlmkit.draft_verify.draft import ROOT, Draft
from dlmkit.draft_verify.roles import Drafter, DraftRun
from dlmkit.draft_verify.round import Round, RoundResult, Setting
from dlmkit.need import Need
from dlmkit.outcome import Outcome
from dlmkit_strategies.kernels import rank

__all__ = ["RankGraph"]

Reveal = tuple[int, int]
State = tuple[Reveal, ...]

CHAIN_AND_SWAPS: tuple[State, ...] = (
    ((1, 1),),
    ((2, 1),),
    ((1, 1), (2, 1)),
    ((1, 1), (3, 1)),
    ((1, 1), (2, 1), (3, 1)),
    ((1, 1), (2, 1), (3, 1), (4, 1)),
)
"""What one expects before counting: falling confidence, with neighbours in either order."""

MOST_PATHS = 256
"""Paths are counted by nodes of the draft, which cost bookkeeping though no rows of a pass."""


@attrs.frozen(kw_only=True)
class RankGraph(Drafter):
    """States named by ranks: which of the undecided positions, and which of its tokens.

    A reveal (i, j) is the i-th most confident undecided position of the block as the verifier saw
    it last, with its j-th likeliest token; a state is the reveals that lead to it.  One state
    comes after another if it holds all of its reveals and no state of the graph lies between; it
    may come after several, and is a single row of the pass all the same.  The graph is found by
    counting where decodes go; it is good for one model and one way of decoding.
    Source: Spiffy (arXiv:2509.18085), directed draft graphs.
    """

    name = "rank-graph"
    branches = True
    needs_view = frozenset({"states"})

    graph: tuple[tuple[tuple[int, int], ...], ...] = option(
        CHAIN_AND_SWAPS, doc="the reveals of each state, as pairs of ranks from 1"
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse graphs with states that nothing leads to."""
        states = [frozenset(state) for state in options["graph"]]
        ranks = [number for state in states for reveal in state for number in reveal]
        if not states or not all(states) or min(ranks) < 1:
            yield "graph", "must hold states of at least one reveal, ranks from 1", "[[[1, 1]]]"
        elif len(set(states)) < len(states):
            yield "graph", "holds a state twice", "leave one out"
        elif any(len({place for place, _ in state}) < len(state) for state in states):
            yield "graph", "holds a state with two tokens for one position", "leave it out"
        elif len(_paths(options["graph"], MOST_PATHS)) >= MOST_PATHS:
            yield "graph", f"has {MOST_PATHS} paths or more", "leave out states"

    def needs(self) -> Need:
        """As many candidates as the graph names."""
        return Need(top=max(token for state in self.graph for _, token in state) + 1)

    def alone(self) -> bool:
        """Whether every step of the graph decides one position."""
        return all(len(added) == 1 for _, _, added in self.paths)

    @cached_property
    def paths(self) -> list[tuple[int, int, State]]:
        """Nodes of a tree of all paths: parent node, state, reveals added; parents come first."""
        return _paths(self.graph, MOST_PATHS)

    def begin(self, setting: Setting) -> DraftRun:
        """Wait for the verifier to speak."""
        return _Graph(self, setting.verifier.model, setting)


@attrs.define
class _Graph(DraftRun):
    drafter: RankGraph
    model: str
    setting: Setting
    spoken: Outcome | None = None

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Every path of the graph, in the positions and tokens of the last look."""
        yield from ()
        rows, device = len(start.budget_B), start.budget_B.device
        if self.spoken is None:
            return Draft.empty(rows, device)
        position_BI, open_BI, token_BIJ, logp_BIJ = self._ranked(start, self.spoken)
        nodes = self.drafter.paths
        entries = [(node, *reveal) for node, path in enumerate(nodes) for reveal in path[2]]
        node_E, place_E, choice_E = torch.tensor(entries, device=device).T
        place_E, choice_E = place_E - 1, choice_E - 1
        fits_BD = self._fits(start, open_BI)
        held_E = place_E.clamp_max(position_BI.shape[1] - 1)
        return Draft(
            position_BE=position_BI[:, held_E],
            token_BE=token_BIJ[:, held_E, choice_E],
            node_BE=node_E.expand(rows, -1),
            valid_BE=fits_BD[:, node_E],
            parent_BD=torch.tensor([path[0] for path in nodes], device=device).expand(rows, -1),
            logp_BE=logp_BIJ[:, held_E, choice_E],
            state_BD=torch.tensor([path[1] for path in nodes], device=device).expand(rows, -1),
        )

    def settle(self, result: RoundResult) -> None:
        """Remember the verifier's last word."""
        self.spoken = result.step

    def _ranked(self, start: Round, spoken: Outcome) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Undecided positions by falling confidence, and the candidates of each."""
        view, prediction = spoken.view, spoken.prediction.filtered
        most = max(place for state in self.drafter.graph for place, _ in state)
        open_BP = start.canvas.masked_BN.gather(1, view.positions_BP) & view.eligible_BP
        order_BI = rank(spoken.confidence_BP, open_BP).argsort(dim=1)[:, :most]
        ids_BPK, logp_BPK = prediction.pack.top_ids_BPK, prediction.pack.top_logp_BPK
        if view.info.mask_id is not None:  # the mask is no candidate
            last_BPK = (ids_BPK == view.info.mask_id).int().argsort(dim=-1, stable=True)
            ids_BPK, logp_BPK = ids_BPK.gather(-1, last_BPK), logp_BPK.gather(-1, last_BPK)
        index_BIK = order_BI[..., None].expand(-1, -1, ids_BPK.shape[-1])
        return (
            view.positions_BP.gather(1, order_BI),
            open_BP.gather(1, order_BI),
            ids_BPK.gather(1, index_BIK),
            logp_BPK.gather(1, index_BIK).double(),
        )

    def _fits(self, start: Round, open_BI: Tensor) -> Tensor:
        """Nodes whose positions exist and that lie within the budget, bool."""
        depths: list[int] = []
        for parent, _, _ in self.drafter.paths:
            depths.append(1 + (depths[parent] if parent != ROOT else 0))
        states = self.drafter.graph
        widest = [max(place for place, _ in states[state]) for _, state, _ in self.drafter.paths]
        device = open_BI.device
        depth_D, widest_D = torch.tensor(depths, device=device), torch.tensor(widest, device=device)
        within_BD = depth_D <= start.budget_B[:, None]
        return within_BD & (widest_D <= open_BI.sum(dim=1, keepdim=True))


def _paths(graph: Sequence[State], most: int) -> list[tuple[int, int, State]]:
    """All ways through a graph as a tree, breadth first, cut off at so many nodes."""
    sets = [frozenset(state) for state in graph]
    found: list[tuple[int, int, State]] = []
    frontier: list[tuple[int, frozenset[Reveal]]] = [(ROOT, frozenset())]
    while frontier and len(found) < most:
        deeper = []
        for parent, base in frontier:
            above = [number for number, state in enumerate(sets) if base < state]
            for number in above:
                if any(sets[other] < sets[number] for other in above):
                    continue
                added = tuple(each for each in graph[number] if each not in base)
                deeper.append((len(found), sets[number]))
                found.append((parent, number, added))
        frontier = deeper
    return found
