"""What the combinators have in common: their traits are those of their members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from dlmkit.loop.memory import parts
from dlmkit.need import Need
from dlmkit.roles import Strategy

__all__ = ["Combined", "at_least_two"]


def at_least_two(members: tuple[Any, ...]) -> str | None:
    """Require two members, without which there is nothing to combine."""
    return None if len(members) >= 2 else "must have at least two members"


class Combined(Strategy):
    """Base of the combinators, beside their role: it declares what some member declares."""

    combines = True

    @property
    def span(self) -> Literal["block", "region"]:  # type: ignore[override] # the members' own
        """The region, if a member reads it."""
        return "region" if any(each.span == "region" for each in self._members()) else "block"

    @property
    def reopens(self) -> bool:  # type: ignore[override] # the members' own
        """Whether a member may put masks back."""
        return any(each.reopens for each in self._members())

    @property
    def history(self) -> bool:  # type: ignore[override] # the members' own
        """Whether a member compares with earlier steps."""
        return any(each.history for each in self._members())

    @property
    def stochastic(self) -> bool:  # type: ignore[override] # the members' own
        """Whether a member draws random numbers."""
        return any(each.stochastic for each in self._members())

    @property
    def requires(self) -> frozenset[str]:  # type: ignore[override] # the members' own
        """Everything that the members require."""
        return frozenset(ability for each in self._members() for ability in each.requires)

    def needs(self) -> Need:
        """Everything that the members read."""
        return Need.union(each.needs() for each in self._members())

    def _members(self) -> Iterator[Strategy]:
        inner = (part for part in parts(self) if part is not self)
        return (part for part in inner if isinstance(part, Strategy))
