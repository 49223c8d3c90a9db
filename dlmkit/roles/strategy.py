"""What every strategy declares, whatever its role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dlmkit.component import Component
from dlmkit.need import Need

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.outcome import Outcome

__all__ = ["Strategy"]


class Strategy(Component):
    """What every strategy declares beside its options, so that a spec can be checked.

    `need`: statistics it reads.  `span`: the positions it reads, the current block or the whole
    region that is generated.  `reopens`: whether it may put masks back.  `history`: whether it
    compares with earlier steps.  `stochastic`: whether it draws random numbers.  `combines`:
    whether it merely combines others of its role, so that checks look at those.  `requires`: what
    must hold elsewhere: `block-causal` or `prefix-causal` attention, `fixed-steps` of the transfer
    rule, an ability of the engine such as `attention-taps`.
    """

    need: ClassVar[Need] = Need()
    span: ClassVar[Literal["block", "region"]] = "block"
    reopens: ClassVar[bool] = False
    history: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    combines: ClassVar[bool] = False
    requires: ClassVar[frozenset[str]] = frozenset()

    def needs(self) -> Need:
        """Statistics this object reads with its options; by default those of its class."""
        return self.need

    def trained_beside(self) -> Mapping[str, str]:
        """What the weights of this object were trained beside, where it has any that say so.

        Names of components by slot (`none` where nothing stood there), and `gen_length`.
        """
        return {}

    def advance(self, outcome: Outcome) -> Mapping[str, Tensor]:
        """Return the next value of every field in `state`; read the current ones from the view.

        Called once after each step, only on strategies that declare state.  Fields by position
        are reset by the loop where a position was reopened.
        """
        raise NotImplementedError(f"{type(self).__name__} declares state but does not advance it")

    def __or__(self, other: Any) -> Any:
        from dlmkit.combinators.operators import union  # combinators are strategies themselves

        return union(self, other)

    def __and__(self, other: Any) -> Any:
        from dlmkit.combinators.operators import intersect

        return intersect(self, other)
