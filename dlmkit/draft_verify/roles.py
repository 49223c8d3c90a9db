"""The roles of a draft-verify procedure: one base class for each of its questions.

A round drafts, looks, judges, and writes.  As in `dlmkit.roles`, a part is a frozen component
whose method is pure: tensors in, tensors out, each row as if it were alone, ties to the lowest
index.  What a drafter keeps between rounds is held by the `DraftRun` that it begins.

Legend: B rows, N canvas positions, E entries, X states fed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs
import torch

from dlmkit.component import Component
from dlmkit.need import Need

if TYPE_CHECKING:
    from torch import Tensor

    from dlmkit.accounts.records import StepRecord
    from dlmkit.canvas import Canvas
    from dlmkit.draft_verify.draft import Draft
    from dlmkit.draft_verify.evidence import Evidence
    from dlmkit.draft_verify.round import Round, RoundResult, Setting
    from dlmkit.draft_verify.verdict import Resolution, Verdict
    from dlmkit.models.tokenizer import Tokenizer
    from dlmkit.network import NetworkInfo
    from dlmkit.outcome import Outcome

__all__ = [
    "Bonus",
    "Bridge",
    "Carried",
    "DraftRun",
    "DraftSchedule",
    "Drafter",
    "Ends",
    "Judge",
    "Look",
    "Part",
    "Refiner",
    "Resolver",
    "Scope",
    "Sight",
]

Order = Literal["position", "reveal"]
"""From left to right, or in the order in which drafts were revealed."""


class Part(Component):
    """What every part declares beside its options, so that a spec can be checked.

    `need`: statistics of the verifier that it reads.  `laws`: whether it reads the drafter's
    whole distributions; `coupled`: and the noise that guesses were drawn with.  `requires`: what
    must hold of the verifier, `causal` attention.
    """

    need: ClassVar[Need] = Need()
    laws: ClassVar[bool] = False
    coupled: ClassVar[bool] = False
    requires: ClassVar[frozenset[str]] = frozenset()

    def needs(self) -> Need:
        """Statistics this object reads with its options; by default those of its class."""
        return self.need


class DraftRun(ABC):
    """A drafter at work on one decode."""

    @abstractmethod
    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Yield a record after each forward pass (of phase `draft`), then return the draft.

        Rows without budget draft nothing.  Entries lie where the canvas has a mask.
        """

    def settle(self, result: RoundResult) -> None:  # noqa: B027 - most remember nothing
        """Take note of what became of the draft; called once after each round."""


class Drafter(Part):
    """Guesses what comes next.

    `order`: whether drafts come from left to right (`position`) or in any order (`reveal`);
    `branches`: whether a node may have brothers; `tells_laws`: whether it can report the whole
    distribution behind each guess; `needs_view` names the views whose evidence it carries to the
    next round (empty: none).
    """

    role = "draft"
    order: ClassVar[Order] = "reveal"
    branches: ClassVar[bool] = False
    tells_laws: ClassVar[bool] = False
    needs_view: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def begin(self, setting: Setting) -> DraftRun:
        """Set out on a decode."""

    def sampled(self) -> bool:
        """Whether its tokens are drawn from the laws that it reports."""
        return False

    def one_shot(self) -> bool:
        """Whether every entry is proposed without knowledge of the others."""
        return False

    def alone(self) -> bool:
        """Whether every node writes one entry."""
        return False


class Refiner(Part):
    """Changes a draft before it is checked: cuts, reorders, merges.

    `orders`: whether what it returns comes from left to right without a gap, in whatever order it
    was drafted.
    """

    role = "refine"
    orders: ClassVar[bool] = False

    @abstractmethod
    def refine(self, draft: Draft, start: Round) -> Draft:
        """Return the new draft."""


@attrs.frozen(kw_only=True, eq=False)
class Look:
    """What the verifier is fed, and which of it rates which entry.

    `tokens_BXN` are canvases, each a row of one pass; `rates_BE` int64 is the state whose
    prediction rates an entry; `before_BX` int64 the state that each comes after, -1 for the
    canvas itself, where states stand for the verifier's own steps one after the other (None: there
    is one state, and it is seen through the window of the canvas).  `state_BD` int64 is the state
    that each node is, where each is one.

    How an entry is rated: `masked` where it is hidden in the state, `hidden` by a query of its own
    (a shadow) that does not see it, `causal` by what lies to its left only, `seen` in plain sight.
    With `whole_block` every position of the block has a shadow, drafted or not, and shadows see
    each other.

    With `columns`, for `causal` entries, the states of a row are one row of the pass, in which what
    they have in common is fed once.  `behind_BX` int64 is the number of positions behind each
    state's block that are to be predicted too (None: none).
    """

    tokens_BXN: Tensor
    rates_BE: Tensor
    before_BX: Tensor | None = None
    state_BD: Tensor | None = None
    entries: Literal["masked", "hidden", "causal", "seen"] = "masked"
    whole_block: bool = False
    columns: bool = False
    behind_BX: Tensor | None = None

    @classmethod
    def of_states(cls, draft: Draft, start: Round) -> Look:
        """The canvas and every node of a draft, each a row of the pass, but none twice."""
        place_BX, shown_BX = draft.distinct()
        index_BXN = shown_BX[..., None].expand(-1, -1, start.canvas.tokens_BN.shape[1])
        before_BX = draft.before_BX.gather(1, shown_BX)
        parent_BD = place_BX.gather(1, draft.parent_BD + 1)
        return cls(
            tokens_BXN=draft.states(start.canvas).gather(1, index_BXN),
            rates_BE=draft.of_nodes(parent_BD),
            before_BX=torch.where(
                before_BX < 0, before_BX, place_BX.gather(1, before_BX.clamp_min(0))
            ),
            state_BD=place_BX[:, 1:],
            behind_BX=None if draft.behind_BX is None else draft.behind_BX.gather(1, shown_BX),
        )


class Sight(Part):
    """Which states the verifier is shown.

    `steps`: whether it shows the state before every node, alone, so that the verifier's own step
    from there can be compared.  `branches`: whether brothers are shown apart.  `columns`: whether
    all states of a row are one row of the pass.  `masks`: whether guesses are rated behind others
    that it hides.
    """

    role = "view"
    steps: ClassVar[bool] = False
    branches: ClassVar[bool] = False
    columns: ClassVar[bool] = False
    masks: ClassVar[bool] = False

    @abstractmethod
    def look(self, draft: Draft, start: Round) -> Look:
        """Return what is fed; at least one state."""

    def region(self) -> bool:
        """Whether guesses beyond the verifier's current block are rated too."""
        return not self.steps

    def attention_problem(self, kind: str) -> str | None:
        """Say why its evidence means nothing under attention of that kind, if it does not."""
        if "causal" in self.requires and kind != "causal":
            return (
                f"view {self.name!r} reads from left to right, and this model's attention is {kind}"
            )
        if self.needs().shadow and kind in ("causal", "masks-last"):
            return f"view {self.name!r} asks what is around a guess, which {kind} attention hides"
        if self.masks and kind == "causal":
            return f"view {self.name!r} asks what is behind masks, which causal models never see"
        return None


class Judge(Part):
    """Rates each entry against the verifier's evidence.

    `needs_steps`: it compares with the verifier's own steps.  `exact`: with a scope that stops at
    the first failure, what is emitted follows the verifier's law; `drawn`: only if drafts are
    drawn from the laws that the drafter reports; `replaces`: only if its token is written there.
    `families`: whether a judge that replaces may be asked about brothers: one passes at most.
    """

    role = "judge"
    needs_steps: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    drawn: ClassVar[bool] = False
    replaces: ClassVar[bool] = False
    families: ClassVar[bool] = False

    @abstractmethod
    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Return which entries pass, and the verifier's token for each."""


class Scope(Part):
    """How far a failure reaches.

    `order` is that in which a failure stops all that follows; None: it concerns itself only.
    """

    role = "scope"
    order: Order | None = None

    @abstractmethod
    def limit(self, draft: Draft, ok_BE: Tensor) -> Tensor:
        """Return the entries that pass in the light of the others, bool, a subset of `ok_BE`."""


class Resolver(Part):
    """What is written where an entry passed, and where it did not.

    `corrects_first`: it writes the verifier's token at the first failure, and nowhere else.
    `only_passed`: it writes nothing but what passed.
    """

    role = "resolve"
    corrects_first: ClassVar[bool] = False
    only_passed: ClassVar[bool] = False

    @abstractmethod
    def resolve(self, draft: Draft, passed_BE: Tensor, verdict: Verdict) -> Resolution:
        """Return which entries are kept and which are corrected."""


class Bonus(Part):
    """Which rows the verifier decides more in, out of the same pass."""

    role = "bonus"

    @abstractmethod
    def rows(self, draft: Draft, resolution: Resolution) -> Tensor:
        """Return rows in which the verifier goes on from where the round has led, `rows_B` bool."""


class DraftSchedule(Part):
    """How long each row drafts.

    A schedule keeps one number for each row, its level, which `after` moves and `budget` reads;
    several if it starts with several (`[B, L]`).
    """

    role = "schedule"

    @abstractmethod
    def start(self) -> float | tuple[float, ...]:
        """The level of every row in the first round."""

    def after(self, level_B: Tensor, result: RoundResult) -> Tensor:
        """The level of the next round, `level_B` or `[B, L]` float64; by default the same."""
        return level_B

    def budget(self, level_B: Tensor) -> Tensor:
        """Steps that a row may draft at a level, `budget_B` int64; by default it, rounded down."""
        return level_B.long()

    def goes_on(self, outcome: Outcome, start: Round) -> Tensor | None:
        """Rows that draft on after this step, bool; None: all."""
        return None


@attrs.frozen(kw_only=True)
class Ends:
    """The ends of a bridge: `home` has the tokens of the canvas, `away` those of the drafter.

    `home_info` and `away_info` describe the networks, with their special tokens.
    """

    home: Tokenizer
    away: Tokenizer
    home_info: NetworkInfo
    away_info: NetworkInfo


@attrs.frozen(kw_only=True, eq=False)
class Carried:
    """What came back over a bridge.

    `tokens_BN`: the canvas with drafted tokens where they could be mapped; `lost_B` int64: drafted
    tokens that could not be.
    """

    tokens_BN: torch.Tensor
    lost_B: torch.Tensor


class Bridge(Part):
    """Carries a canvas between two vocabularies."""

    role = "bridge"

    @abstractmethod
    def away(self, canvas: Canvas, ends: Ends) -> Canvas:
        """Return the canvas in the drafter's tokens, its masks in the same places of the text."""

    @abstractmethod
    def home(self, canvas: Canvas, before: Canvas, after: Canvas, ends: Ends) -> Carried:
        """Return what a drafter wrote between `before` and `after`, in the canvas's tokens."""
