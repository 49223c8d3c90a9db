"""Steps made to order: views with the confidences, distributions and memory that a test states.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.loop.memory import Memory
from dlmkit.loop.proposal import Proposal
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.outcome import Outcome
from dlmkit.prediction import Prediction, score_pack
from dlmkit.testing.toy import toy_network
from dlmkit.view import View, whole_region, window

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPT = 2
EVERYTHING = Need(top=4, entropy=True, current=True, logits=True)
INFO = toy_network().info
MASK = INFO.mask_id or 0


def canvas_of(rows: Sequence[Sequence[int | None]]) -> Canvas:
    """A canvas whose rows have generated tokens; None is a mask."""
    canvas = Canvas.create([[1] * PROMPT for _ in rows], len(rows[0]), MASK)
    tokens_BN = canvas.tokens_BN.clone()
    tokens_BN[:, PROMPT:] = torch.tensor([[MASK if t is None else t for t in row] for row in rows])
    canvas.tokens_BN = tokens_BN
    canvas.commit_step_BN = torch.where(canvas.given_BN | (tokens_BN == MASK), -1, 0).int()
    return canvas


def view_of(canvas: Canvas, *, strategy: Any = None, **facts: Any) -> View:
    """The view of a step over the whole region; `facts` replace what it says."""
    span = whole_region(canvas)
    positions_BP, inside_BP = window(
        span.start_B, span.stop_B, span.width, canvas.tokens_BN.shape[1]
    )
    memory = Memory(strategy, canvas, INFO.vocab_size).values if strategy else {}
    stated = {
        "canvas": canvas,
        "info": INFO,
        "noise": Noise(0, canvas.samples_B, 0),
        "step": 0,
        "block": span,
        "block_step_B": torch.zeros_like(span.index_B),
        "block_masks_B": canvas.initial_masks_B,
        "positions_BP": positions_BP,
        "inside_BP": inside_BP,
        "memory": memory,
    }
    return View(**(stated | facts))


def proposing(view: View, confidence: Sequence[Sequence[float]], logits: Any = None) -> View:
    """The view with confidences by row, and a prediction from logits (default: flat ones)."""
    shape = (*view.positions_BP.shape, INFO.vocab_size)
    logits_BPV = torch.zeros(shape) if logits is None else torch.as_tensor(logits)
    confidence_BP = torch.tensor(confidence, dtype=torch.float64)
    prediction = Prediction(
        pack=score_pack(logits_BPV, EVERYTHING, view.tokens_BP), logits_BPV=logits_BPV
    )
    best_BP = logits_BPV.index_fill(-1, torch.tensor(MASK), -torch.inf).argmax(dim=-1)
    return view.proposing(
        Proposal(
            prediction=prediction,
            tokens_BP=best_BP,
            confidence_BP=confidence_BP.masked_fill(~view.eligible_BP, -torch.inf),
        )
    )


def fresh(confidence: Sequence[Sequence[float]], logits: Any = None) -> View:
    """A first step over masks alone, rated as stated."""
    rows: list[list[int | None]] = [[None] * len(row) for row in confidence]
    return proposing(view_of(canvas_of(rows)), confidence, logits)


def select(rule: Any, view: View) -> Tensor:
    """What a transfer rule selects of the eligible positions, bool."""
    selected: Tensor = rule.select(view.proposal.confidence_BP, view) & view.eligible_BP
    return selected


def chosen(rule: Any, view: View) -> list[list[int]]:
    """The selected window positions of each row."""
    return [row.nonzero()[:, 0].tolist() for row in select(rule, view)]


def next_view(rule: Any, view: View, commit_BP: Tensor) -> View:
    """The view of the following step, after the rule has taken note of this one."""
    proposal, canvas = view.proposal, attrs.evolve(view.canvas)
    canvas.commit(view.positions_BP, commit_BP, proposal.tokens_BP, view.step)
    outcome = Outcome(
        view=view,
        prediction=proposal.prediction,
        proposals_BP=proposal.tokens_BP,
        confidence_BP=proposal.confidence_BP,
        commit_BP=commit_BP,
        before_BN=view.tokens_BN,
        after_BN=canvas.tokens_BN,
    )
    state = rule.advance(outcome)
    return view_of(
        canvas,
        step=view.step + 1,
        block_step_B=view.block_step_B + 1,
        memory={id(rule): state},
    )
