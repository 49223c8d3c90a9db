"""The roles: one base class per question that a decoding strategy answers.

A strategy is a frozen component of one role with one pure method: tensors in, tensors out.  The
loop intersects what a strategy returns with what is eligible, applies it, and counts it.  Rows of
a batch are independent: a method must give each row what it would give the row alone.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from dlmkit.component import Component
from dlmkit.need import Need

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.canvas import Canvas
    from dlmkit.context import Context
    from dlmkit.network import NetworkInfo
    from dlmkit.outcome import Outcome
    from dlmkit.plan import Plan
    from dlmkit.prediction import Prediction
    from dlmkit.records import StepRecord
    from dlmkit.view import BlockSpan, View

__all__ = [
    "Blocks",
    "CachePolicy",
    "CommitGuard",
    "ConfidenceScorer",
    "EarlyExit",
    "Exit",
    "Guide",
    "InputTransform",
    "LengthController",
    "LogitsTransform",
    "Mixture",
    "Observer",
    "Procedure",
    "Resize",
    "Reviser",
    "Revision",
    "ScoreSpace",
    "Splitter",
    "StopRule",
    "Strategy",
    "TokenSampler",
    "TransferRule",
]

ScoreSpace = Literal["probability", "nats", "logit", "rank", "unbounded"]
"""The unit of a confidence: probability in [0, 1]; nats (0 or below, larger is surer); a
difference of logits; a rank that only orders; anything else."""


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


class Procedure(Component):
    """The root of a pipeline: decides which forward passes run, and in which order.

    `repeats` says that it decodes the same rows several times to get different texts; `requires`
    names what it needs of its model itself, as strategies do (see `Strategy`).
    """

    role = "procedure"
    requires: ClassVar[frozenset[str]] = frozenset()
    repeats: ClassVar[bool] = False

    @abstractmethod
    def home(self) -> str:
        """Name of the model whose tokens the canvas holds."""

    @abstractmethod
    def steps(self, context: Context, canvas: Canvas) -> Iterator[StepRecord]:
        """Decode the canvas in place; yield one record after each forward pass."""


class Splitter(Component):
    """Cuts the decoded part of a text into fragments, which an outer procedure may redo."""

    role = "split"

    @abstractmethod
    def fragments(self, canvas: Canvas, info: NetworkInfo) -> Tensor:
        """Return `fragment_BN` int64: the number of each position's fragment, from 0.

        It is -1 where a position belongs to none: given text, masks, what only separates.
        """


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


class LogitsTransform(Strategy):
    """Edits the distribution.

    `stage` says who sees the result: `"score"` everybody; `"sampling"` only the token sampler,
    and scorers that ask for the filtered distribution.
    """

    role = "logits"
    need = Need(logits=True)
    stage: ClassVar[Literal["score", "sampling"]] = "score"

    @abstractmethod
    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Return new logits of the same shape."""


class TokenSampler(Strategy):
    """Proposes a token for each position."""

    role = "sample"

    @abstractmethod
    def propose(self, prediction: Prediction, view: View) -> Tensor:
        """Return `tokens_BP` int64, read from `prediction.filtered`."""

    def law(self, prediction: Prediction, view: View) -> Tensor | None:
        """Log-probabilities of its proposals, `logp_BPV` float64; None: they are not drawn."""
        return None

    def noise(self, prediction: Prediction, view: View) -> Tensor | None:
        """Gumbel numbers, `noise_BPV` float64: its proposals are the largest of law plus noise.

        None: they are not drawn, or in another way.
        """
        return None


class ConfidenceScorer(Strategy):
    """Rates proposals; larger is surer.  `space` is the unit of its scores."""

    role = "confidence"
    space: ClassVar[ScoreSpace] = "unbounded"

    @abstractmethod
    def score(self, tokens_BP: Tensor, prediction: Prediction, view: View) -> Tensor:
        """Return `confidence_BP`, float32 or float64."""

    def score_space(self) -> ScoreSpace:
        """The unit of this object's scores; by default that of its class."""
        return self.space


class TransferRule(Strategy):
    """Chooses which proposals become tokens.

    `reads` lists the score spaces that it understands; empty means any.  A rule that may commit
    nothing in a step sets `may_wait`; any other must commit at least one eligible position in
    every row that has one.  `locality` says whether its choice hangs on place: `"near"` commits
    beside sure positions, `"far"` keeps commits apart.  `doubtful` says that it commits positions
    because they are uncertain.  Any other rule breaks ties of confidence towards the first
    position.  `whole` says that every step commits every eligible position.
    """

    role = "transfer"
    reads: ClassVar[frozenset[ScoreSpace]] = frozenset()
    may_wait: ClassVar[bool] = False
    locality: ClassVar[Literal["near", "far"] | None] = None
    doubtful: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    @abstractmethod
    def select(self, confidence_BP: Tensor, view: View) -> Tensor:
        """Return `commit_BP` bool.

        `confidence_BP` is minus infinity where the position is not eligible.
        """

    def steps_per_block(self, width: int) -> int | None:
        """Steps that a block of `width` masks takes where the rule fixes them, else None.

        A rule that `may_wait` must fix them and decide every mask by then.
        """
        return None

    def score_spaces(self) -> frozenset[ScoreSpace]:
        """The score spaces this object understands; by default those of its class."""
        return self.reads


class CommitGuard(Strategy):
    """Changes a selection, for example to keep a minimum or a maximum.

    `binding` says that it answers for the finished text, so that nothing may commit or write
    tokens behind its back; `drops` that it may take a part of a selection back.
    """

    role = "guard"
    binding: ClassVar[bool] = False
    drops: ClassVar[bool] = False

    @abstractmethod
    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """Return the new `commit_BP` bool."""


@attrs.frozen
class Exit:
    """Rows that stop, and what happens to their remaining masks.

    `rows_B` bool.  `scope`: `"block"` ends the current block, `"canvas"` the whole row.  Masks in
    scope are filled with this step's proposals.
    """

    rows_B: Tensor
    scope: Literal["block", "canvas"]


class EarlyExit(Strategy):
    """Ends a block or a row before every position was decided on its own."""

    role = "exit"

    def anchored(self) -> bool:
        """Whether it looks at positions by their distance from the prompt."""
        return False

    @abstractmethod
    def decide(self, prediction: Prediction, confidence_BP: Tensor, view: View) -> Exit | None:
        """Return which rows exit, or None."""


@attrs.frozen
class Revision:
    """Committed positions to change: `where_BP` bool and the new `tokens_BP` (mask id: reopen).

    `again_B` bool marks rows whose block gets one more pass even if nothing is masked in it.
    """

    where_BP: Tensor
    tokens_BP: Tensor
    again_B: Tensor | None = None


class Reviser(Strategy):
    """Takes back or replaces tokens that were committed earlier.

    `sees`: `"before"` gets the view of the forward pass, `"after"` the view with this step's
    commits applied.  `rewrites` says that it puts tokens in place of tokens, which only networks
    that were trained for it do well.
    """

    role = "revise"
    rewrites: ClassVar[bool] = False
    sees: ClassVar[Literal["before", "after"]] = "after"

    @abstractmethod
    def revise(self, prediction: Prediction, view: View) -> Revision | None:
        """Return what to change, or None."""


@attrs.frozen
class Resize:
    """Positions to add and to take away.

    `insert_BN` int64 masks are put behind each position; those in `delete_BN` bool vanish.
    """

    insert_BN: Tensor
    delete_BN: Tensor


class LengthController(Strategy):
    """Changes how many positions a row has.

    Masks are inserted behind the last token of the prompt or later.  Given text is never taken
    away, nor the last position that a row has left.  A row must stay within the model's context.
    `only_cuts` promises that rows only lose their end, so that what is left keeps its place.
    """

    role = "length"
    only_cuts: ClassVar[bool] = False

    def waits(self, prediction: Prediction, view: View) -> Tensor | None:
        """Return the rows that decide nothing in this step, `rows_B` bool; None: there are none.

        Each of them must change its length in this step.
        """
        return None

    @abstractmethod
    def resize(self, prediction: Prediction, view: View) -> Resize | None:
        """Return what to change, or None; the view has this step's commits applied."""


class StopRule(Strategy):
    """Ends rows that need no more steps."""

    role = "stop"

    @abstractmethod
    def stop(self, view: View) -> Tensor:
        """Return `rows_B` bool; masks that are left there stay."""


class Observer(Component):
    """Sees every record; changes nothing."""

    role = "observe"

    @abstractmethod
    def step(self, record: StepRecord) -> None:
        """Take note of one step."""
