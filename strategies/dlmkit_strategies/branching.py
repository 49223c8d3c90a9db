"""Procedures that try several canvases for a row in one pass, and keep the best one.

Legend: B rows, N canvas positions, P window positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.component import option
from dlmkit.loop.memory import parts
from dlmkit.loop.proposal import Proposal
from dlmkit.need import Need
from dlmkit.prediction import Prediction, ScorePack
from dlmkit.roles import Blocks, ConfidenceScorer, Procedure, StopRule, Strategy, TokenSampler
from dlmkit.view import View

__all__: list[str] = []

_NEED = Need(top=2, entropy=True)


@attrs.frozen(kw_only=True)
class Branching(Procedure):
    """The slots that such procedures share, and how proposals are rated."""

    model: str = option("main", doc="name of the network in `models`")
    blocks: Blocks | None = option(None, doc="the span decoded now; absent: the whole region")
    sample: TokenSampler = option(doc="proposes a token for each position")
    confidence: ConfidenceScorer = option(doc="rates the proposals")
    stop: tuple[StopRule, ...] = option((), doc="ends rows that need no more steps")

    def home(self) -> str:
        """The only model there is."""
        return self.model

    def need(self) -> Need:
        """Statistics that the choice and everything in the slots read."""
        strategies = (part for part in parts(self) if isinstance(part, Strategy))
        return Need.union((_NEED, *(each.needs() for each in strategies)))

    def rated(self, prediction: Prediction, view: View) -> View:
        """The view with the proposals and their confidence."""
        proposal = Proposal.of(prediction, view, self.sample, self.confidence)
        return view.proposing(proposal)

    def end(self, view: View, canvas: Canvas) -> None:
        """Stop the rows that the stop rules end, on the canvas as this step leaves it."""
        for rule in self.stop:
            canvas.done_B = canvas.done_B | rule.stop(view.after(canvas))


def with_choice(choice_BP: Tensor, tokens_BP: Tensor, view: View) -> Tensor:
    """The canvas with a choice applied, `ids_BN`."""
    canvas = view.canvas.snapshot()
    canvas.commit(view.positions_BP, choice_BP, tokens_BP, view.step)
    return canvas.tokens_BN


def picked(values: Sequence[Tensor], best_B: Tensor) -> Tensor:
    """Each row's own member of several tensors `[B, ...]`, by number."""
    return torch.stack(list(values))[best_B, torch.arange(len(best_B), device=best_B.device)]


def best_of(predictions: Sequence[Prediction], best_B: Tensor) -> Prediction:
    """Each row's own prediction: that of the choice of this number."""
    statistics: dict[str, Any] = {}
    for name in attrs.fields_dict(ScorePack):
        each = [getattr(prediction.pack, name) for prediction in predictions]
        statistics[name] = None if each[0] is None else picked(each, best_B)
    logits = [each.logits_BPV for each in predictions if each.logits_BPV is not None]
    return Prediction(
        pack=ScorePack(**statistics), logits_BPV=picked(logits, best_B) if logits else None
    )


def rows_of(whole: Prediction, index_B: Tensor) -> Prediction:
    """The prediction of the rows of these numbers, in that order."""
    pack: dict[str, Any] = {
        name: None if each is None else each[index_B]
        for name, each in attrs.asdict(whole.pack, recurse=False).items()
    }
    logits_BPV = whole.logits_BPV
    return Prediction(
        pack=ScorePack(**pack), logits_BPV=None if logits_BPV is None else logits_BPV[index_B]
    )
