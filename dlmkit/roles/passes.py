"""Roles that lay out a forward pass: what is decoded now, fed, computed anew, and compared.

Legend: B rows, N canvas positions, P window positions, K mixed tokens, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from dlmkit.need import Need
from dlmkit.roles.strategy import Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.canvas import Canvas
    from dlmkit.passes.plan import Plan
    from dlmkit.prediction import Prediction
    from dlmkit.view import BlockSpan, View

__all__ = ["Blocks", "CachePolicy", "Guide", "InputTransform", "Mixture"]


class Blocks(Strategy):
    """Which span of each row is decoded now.

    `until_filled` promises that a row keeps its span while a mask is left in it, as long as
    nothing decided is reopened; the loop then asks only when a span has been filled.
    `foresees` says that the end of a span is chosen from the first prediction in it; the row then
    stays in the span while a mask is left there.
    """

    role = "blocks"
    until_filled: ClassVar[bool] = False
    foresees: ClassVar[bool] = False

    @abstractmethod
    def current(self, canvas: Canvas) -> BlockSpan:
        """Return each row's current span; rows may sit in different blocks.

        The span of a row with masks left must contain at least one of them, and leave none to its
        left.  The width of the span is a number known without reading a tensor.
        """

    def end(self, prediction: Prediction, view: View) -> Tensor:
        """Return where the row's span ends, `stop_B` int64, in the step that enters it.

        Only spans that foresee are asked; what they return is cut to the span of the view.
        """
        return view.block.stop_B

    def planned_width(self, gen_length: int) -> int | None:
        """Length of every block of that many tokens, where it is known beforehand; else None."""
        return None

    def length_problem(self, gen_length: int) -> str | None:
        """Say what keeps these blocks from covering that many tokens; None where nothing does."""
        return None


@attrs.frozen
class Mixture:
    """Embeddings to add up: shares `weights_BNK`, float32, of the tokens `ids_BNK`, int64.

    What is left of 1 is the share of the token that is fed at the position.
    """

    ids_BNK: Tensor
    weights_BNK: Tensor


class InputTransform(Strategy):
    """Changes what the network is fed, not the canvas."""

    role = "inputs"

    @abstractmethod
    def apply(self, ids_BN: Tensor, view: View) -> Tensor:
        """Return the token ids to feed, `ids_BN` int64."""

    def mix(self, view: View) -> Mixture | None:
        """Return what else is mixed into the embeddings, or None: nothing.

        A strategy that mixes requires `mixed-inputs`.
        """
        return None


class CachePolicy(Strategy):
    """Decides what is computed and what is read from the key/value store.

    A position whose prediction a plan leaves out cannot be decided in that step; each live row
    must keep at least one that can.  What the methods below say depends on the options.
    `by_layer` says that layers read or compute different positions; then nothing has shadows.
    """

    role = "cache"
    by_layer: ClassVar[bool] = False

    @abstractmethod
    def plan(self, view: View) -> Plan:
        """Return the plan of this step's forward pass."""

    def provides(self) -> Literal["region", "block", "undecided", "some"]:
        """Where every step has predictions.

        In the whole region, in the current block, where that is undecided, or at some of that.
        """
        return "region"

    def freezes(self) -> Literal["nothing", "blocks", "tokens"]:
        """What keeps its keys and values even if a reviser changes part of it.

        Nothing, the blocks that are not decoded now, or decided tokens of any block.
        """
        return "nothing"

    def exact(self) -> bool:
        """Whether predictions are those of computing everything in every step.

        With looped models no policy is: what is stored of them is of one recurrence.
        """
        return True

    def confined(self) -> bool:
        """Whether nothing that is read changes while the current block is decoded.

        Then passes compute little besides the block, and states of it can share what is stored.
        """
        return False

    def forks(self) -> bool:
        """Whether states of a decode can be looked at side by side as if one after the other.

        An exact policy allows that.  Of another one `foresee` must know its state after every pass
        that does not renew what is stored.
        """
        return self.exact()

    def renews(self, view: View) -> Tensor:
        """Rows whose pass renews what is stored, bool: it stores something, and reads nothing."""
        plan = self.plan(view)
        stores_B = plan.committed_BN(view.tokens_BN.shape[1]).any(dim=1)
        if plan.cached_BN is None:
            return stores_B
        return stores_B & ~(plan.cached_BN & view.canvas.inside_BN).any(dim=1)

    def foresee(self, view: View) -> Mapping[str, Tensor]:
        """The state after the pass that is about to run; by default it stays as it is."""
        return view.recall(self)


class Guide(Strategy):
    """Combines predictions under several inputs, for example with and without the prompt."""

    role = "guide"
    need = Need(logits=True)

    @abstractmethod
    def variants(self, ids_BN: Tensor, view: View) -> Sequence[Tensor]:
        """Return the canvases to feed, each `ids_BN`; they run as one forward pass."""

    @abstractmethod
    def combine(self, logits: Sequence[Tensor], view: View) -> Tensor:
        """Combine the variants' `logits_BPV`, in their order, into one."""
