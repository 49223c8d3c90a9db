"""Whole passes at the right moments around any cache policy.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import at_least
from dlmkit.component import StateField, option
from dlmkit.outcome import Outcome
from dlmkit.passes.plan import Plan
from dlmkit.roles import CachePolicy
from dlmkit.view import View
from dlmkit_strategies.cache.marks import cold, working

__all__ = ["Refresh"]


@attrs.frozen
class Refresh(CachePolicy):
    """Follow another policy, but compute and store everything whenever a refresh is due.

    That is every so many steps; where a row enters a block; or when the policy would read more
    stored positions whose token has changed than `stale` allows.  Rows are refreshed one by one.
    The first step belongs to the inner policy, unless every step is a refresh.
    Source: dInfer (arXiv:2510.08666), vicinity refresh; `stale` dlmkit.
    """

    name = "refresh"
    state: ClassVar[tuple[StateField, ...]] = (
        StateField("age", "int64", 0, dims="B"),
        StateField("tag", "int64", -1, keep=True),
    )

    of: CachePolicy = option(doc="the policy to follow in between")
    every: int | None = option(
        None, doc="steps from one refresh to the next; absent: any number", check=at_least(1)
    )
    at_block: bool = option(False, doc="refresh a row in its first step in a block")
    stale: int | None = option(
        None, doc="stored positions of outdated tokens that may be read", check=at_least(0)
    )

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse a policy that lets layers choose: what they keep is not in the store."""
        inner = options["of"]
        if "layer-steps" in inner.requires:
            message = f"cache {inner.name!r} renews what its layers keep by its own rule"
            yield "of", message, f"use {inner.name!r} alone, with other options"

    def plan(self, view: View) -> Plan:
        """The inner plan, or everything in the rows where a refresh is due."""
        inner, columns = self.of.plan(view), view.tokens_BN.shape[1]
        due_B1 = self._due(inner, view)[:, None]
        everything_BN = due_B1 & working(view)
        plan = Plan.of(
            inner.computed_BN(columns) | everything_BN,
            cached_BN=None if inner.cached_BN is None else inner.cached_BN & ~due_B1,
            commit_BN=inner.committed_BN(columns) | everything_BN,
            prefix_B=None if inner.prefix_B is None else inner.prefix_B * ~due_B1[:, 0],
        )
        return attrs.evolve(
            plan,
            layers_BNY=inner.layers_BNY,
            layers_width=inner.layers_width,
            watched_BN=inner.watched_BN,
        )

    def _due(self, inner: Plan, view: View) -> Tensor:
        memory = view.recall(self)
        due_B = torch.zeros_like(view.block_step_B, dtype=torch.bool)
        if self.every is not None:
            due_B = memory["age"] >= self.every - 1
        if self.at_block:
            due_B = due_B | (view.block_step_B == 0)
        if self.stale is not None and inner.cached_BN is not None:
            outdated_BN = (memory["tag"] != view.tokens_BN) & inner.cached_BN
            due_B = due_B | ((outdated_BN & view.canvas.inside_BN).sum(dim=1) > self.stale)
        return due_B

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """Steps since each row's refresh, and the token each stored position was computed from."""
        return self.foresee(outcome.view)

    def foresee(self, view: View) -> Mapping[str, Tensor]:
        """All of it follows from the plan."""
        memory, stored_BN = view.recall(self), self.plan(view).committed_BN(view.tokens_BN.shape[1])
        due_B = self._due(self.of.plan(view), view) | cold(view)
        return {
            "age": torch.where(due_B, 0, memory["age"] + 1),
            "tag": torch.where(stored_BN, view.tokens_BN, memory["tag"]),
        }

    def provides(self) -> Literal["region", "block", "undecided", "some"]:
        """What the inner policy provides between refreshes."""
        return "region" if self.every == 1 else self.of.provides()

    def freezes(self) -> Literal["nothing", "blocks", "tokens"]:
        """What the inner policy freezes between refreshes."""
        return "nothing" if self.every == 1 else self.of.freezes()

    def exact(self) -> bool:
        """If every step is a refresh, or the inner policy is exact."""
        return self.every == 1 or self.of.exact()

    def forks(self) -> bool:
        """If the inner policy does: when the next refresh is due is known."""
        return self.exact() or self.of.forks()

    def renews(self, view: View) -> Tensor:
        """At a refresh, and where the inner policy does."""
        return super().renews(view) | self.of.renews(view)
