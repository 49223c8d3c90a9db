"""Scenes: everything one call of a strategy reads, for rows in telling situations.

A row's numbers depend on the row alone, so a scene of one row holds what the same row has in a
scene of many.

Legend: B rows, N canvas positions, P window positions, V vocabulary.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.loop.memory import Memory, parts
from dlmkit.loop.proposal import Proposal
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.noise import Noise
from dlmkit.passes.taps import Taps
from dlmkit.prediction import Prediction, score_pack
from dlmkit.roles import Strategy, TransferRule
from dlmkit.testing.toy import toy_network
from dlmkit.view import BlockSpan, View, whole_region, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlmkit.component import Component
    from dlmkit.network import NetworkInfo

__all__ = [
    "ALL",
    "EVERYTHING",
    "Row",
    "Scene",
    "attention_for",
    "needs_of",
    "rows",
    "scene",
    "toy_info",
]

REGION, BLOCK, LONGEST = 8, 4, 16
STEP = 5

DECIDING = frozenset({"exit", "guard", "revise", "transfer"})
"""Roles whose view holds the proposals of the step."""

EVERYTHING = Need(
    top=5,
    entropy=True,
    current=True,
    logits=True,
    shadow=True,
    taps=frozenset({"relevance", "rollout"}),
)
"""More statistics than any strategy may rely on without declaring them."""


@attrs.frozen(kw_only=True)
class Row:
    """The situation of one row, in offsets from the end of its prompt.

    `decided` offsets hold tokens; the current block starts at `block`; `flat` gives every
    position the same distribution, so that everything ties.
    """

    sample: int
    prompt: int
    block: int = 0
    decided: tuple[int, ...] = ()
    done: bool = False
    flat: bool = False


ALL = {
    "fresh block": Row(sample=0, prompt=3),
    "half-decided block": Row(sample=1, prompt=5, block=4, decided=(0, 1, 2, 3, 5)),
    "nothing eligible": Row(sample=2, prompt=2, decided=(0, 1, 2, 3)),
    "everything decided": Row(sample=3, prompt=4, block=4, decided=tuple(range(REGION))),
    "stopped row": Row(sample=4, prompt=1, done=True),
    "ties": Row(sample=5, prompt=4, flat=True),
}


@attrs.frozen(kw_only=True, eq=False)
class Scene:
    """The arguments of a call: view, prediction, proposals, confidence, a selection."""

    view: View
    prediction: Prediction
    proposals_BP: Tensor
    confidence_BP: Tensor
    commit_BP: Tensor


@functools.cache
def toy_info() -> NetworkInfo:
    """Facts about the toy network, with a token that ends a turn."""
    info = toy_network().info
    return attrs.evolve(info, eot_ids=(info.eos_ids[0] - 1,))


def attention_for(component: Component) -> AttentionPattern | None:
    """The attention that a component needs in order to work; None: any."""
    required = {name for part in parts(component) for name in getattr(part, "requires", ())}
    for kind in ("block-causal", "prefix-causal"):
        if kind in required:
            return AttentionPattern(kind=kind, block=BLOCK)
    if "causal" in required:
        return AttentionPattern(kind="causal")
    return None


def rows(*names: str) -> tuple[Row, ...]:
    """The rows of these names, or all of them."""
    return tuple(ALL[name] for name in names or ALL)


def needs_of(component: Component) -> Need:
    """What a component and everything in its options declare to read."""
    return Need.union(part.needs() for part in parts(component) if isinstance(part, Strategy))


def scene(
    component: Component, chosen: Sequence[Row], *, region: bool, need: Need | None = None
) -> Scene:
    """Build the scene of these rows for a component, with the statistics that it declares."""
    view = _view(component, chosen, region=region)
    sharp_BPV = _gather(torch.stack([_logits(row) for row in chosen]), view)
    wanted = need or needs_of(component)
    prediction = attrs.evolve(
        _predict(sharp_BPV, wanted, view), sampling=_predict(sharp_BPV / 0.7, wanted, view)
    )
    if wanted.shadow:
        # Any other distribution at the same positions will do.
        other_BPV = _gather(torch.stack([_logits(row).roll(1, 0) for row in chosen]), view)
        shadow = _predict(other_BPV, attrs.evolve(wanted, current=True), view)
        prediction = attrs.evolve(prediction, shadow=shadow)
    if wanted.taps:
        prediction = attrs.evolve(prediction, taps=_taps(chosen, view))
    score_BP = _gather(torch.stack([_scores(row) for row in chosen]), view)
    if isinstance(component, TransferRule) and "probability" not in component.score_spaces():
        score_BP = score_BP.log() if component.score_spaces() else score_BP
    mask_V = torch.arange(sharp_BPV.shape[-1]).eq(view.canvas.mask_id)
    proposal = Proposal(
        prediction=prediction,
        tokens_BP=sharp_BPV.masked_fill(mask_V, -torch.inf).argmax(dim=-1),
        confidence_BP=score_BP.masked_fill(~view.eligible_BP, -torch.inf),
    )
    return Scene(
        view=view.proposing(proposal),
        prediction=prediction,
        proposals_BP=proposal.tokens_BP,
        confidence_BP=proposal.confidence_BP,
        commit_BP=(score_BP > 0.5) & view.eligible_BP,
    )


def _view(component: Component, chosen: Sequence[Row], *, region: bool) -> View:
    canvas = _canvas(chosen)
    start_B = canvas.start_B + torch.tensor([row.block for row in chosen])
    block = BlockSpan(
        start_B=start_B,
        stop_B=start_B + BLOCK,
        index_B=(start_B - canvas.start_B) // BLOCK,
        width=BLOCK,
    )
    span = whole_region(canvas) if region else block
    positions_BP, inside_BP = window(
        span.start_B, span.stop_B, span.width, canvas.tokens_BN.shape[1]
    )
    fixed = component.steps_per_block(BLOCK) if isinstance(component, TransferRule) else BLOCK
    decided_here = [
        sum(row.block <= each < row.block + BLOCK for each in row.decided) for row in chosen
    ]
    attention = attention_for(component)
    return View(
        canvas=canvas,
        info=attrs.evolve(toy_info(), attention=attention) if attention else toy_info(),
        noise=Noise(7, canvas.samples_B, STEP),
        step=STEP,
        block=block,
        block_step_B=torch.tensor(decided_here),
        block_masks_B=torch.full_like(start_B, BLOCK),
        positions_BP=positions_BP,
        inside_BP=inside_BP,
        steps_per_block=fixed,
        memory=Memory(component, canvas, toy_info().vocab_size, layers=toy_info().layers).values,
    )


def _canvas(chosen: Sequence[Row]) -> Canvas:
    info = toy_info()
    prompts = [[(row.sample * 5 + each) % 19 for each in range(row.prompt)] for row in chosen]
    canvas = Canvas.create(prompts, REGION, info.mask_id or 0)
    canvas.samples_B = torch.tensor([row.sample for row in chosen])
    tokens_BN, steps_BN = canvas.tokens_BN.clone(), canvas.commit_step_BN.clone()
    for number, row in enumerate(chosen):
        for offset in row.decided:
            # An end token among the decided ones gives stop rules something to see.
            token = info.eos_ids[0] if offset == 2 else (row.sample + 3 * offset) % 19
            tokens_BN[number, row.prompt + offset] = token
            steps_BN[number, row.prompt + offset] = offset % STEP
    canvas.tokens_BN, canvas.commit_step_BN = tokens_BN, steps_BN
    canvas.done_B = torch.tensor([row.done for row in chosen])
    return canvas


def _logits(row: Row) -> Tensor:
    """Logits of a row at every position; at some the mask token is the most probable."""
    info = toy_info()
    generator = torch.Generator().manual_seed(row.sample)
    logits_NV = 3 * torch.randn(LONGEST, info.vocab_size, generator=generator)
    logits_NV[::3, info.mask_id] = 12.0
    return logits_NV[:1].expand(LONGEST, -1) if row.flat else logits_NV


def _scores(row: Row) -> Tensor:
    """Scores of a row at every position, between 0 and 1; equal ones in a flat row."""
    generator = torch.Generator().manual_seed(100 + row.sample)
    score_N = torch.rand(LONGEST, generator=generator).clamp(0.01, 0.99)
    return score_N[:1].expand(LONGEST) if row.flat else score_N


def _taps(chosen: Sequence[Row], view: View) -> Taps:
    """What attention saw: the row's scores, another order of them in each layer."""
    columns, layers = view.tokens_BN.shape[1], view.info.layers
    score_BN = torch.stack([_scores(row)[:columns] for row in chosen])
    return Taps(
        relevance_BNY=torch.stack([score_BN.roll(each, 1) for each in range(layers)], dim=2),
        rollout_BN=score_BN * view.canvas.inside_BN,
    )


def _gather(values: Tensor, view: View) -> Tensor:
    """Values by row and canvas position to values by row and window position."""
    index = view.positions_BP
    return values[torch.arange(len(index))[:, None], index]


def _predict(logits_BPV: Tensor, need: Need, view: View) -> Prediction:
    pack = score_pack(logits_BPV, need, view.tokens_BP)
    return Prediction(pack=pack, logits_BPV=logits_BPV if need.logits else None)
