"""Drafting in another vocabulary: the drafter's pipeline runs on a canvas of its own tokens.

Legend: B rows, N canvas positions, E entries, D nodes, T steps drafted.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.context import Context
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.roles import Bridge, Carried, DraftRun, Ends
from dlmkit.errors import RequestError
from dlmkit.noise import SEED_LIMIT
from dlmkit.view import whole_region

if TYPE_CHECKING:
    from dlmkit.accounts.records import StepRecord
    from dlmkit.canvas import Canvas
    from dlmkit.denoise import Denoise
    from dlmkit.draft_verify.round import Round, Setting

__all__ = ["BridgedSteps"]


class BridgedSteps(DraftRun):
    """Each round the canvas goes over the bridge, is drafted on there, and what can comes back.

    The drafter starts every round afresh: positions change with each crossing, so nothing that
    it stored would fit.
    """

    def __init__(self, pipeline: Denoise, setting: Setting, bridge: Bridge, recall: float) -> None:
        if setting.laws or recall:
            who = "`recall` mixes" if recall else "the judge compares"
            raise RequestError(
                f"{who} distributions, and those of another vocabulary do not compare",
                hint="leave `recall` at 0 and use a judge that reads the verifier's law only",
            )
        self.pipeline, self.bridge, self.context = pipeline, bridge, setting.context
        home, away = setting.verifier.model, pipeline.model
        tokenizers = [setting.context.tokenizers.get(name) for name in (home, away)]
        if tokenizers[0] is None or tokenizers[1] is None:
            raise RequestError(
                f"the bridge needs the tokenizers of '{home}' and '{away}', and one has none",
                hint="add its tokenizer.json to the checkpoint folder",
            )
        self.ends = Ends(
            home=tokenizers[0],
            away=tokenizers[1],
            home_info=setting.context.session(home).info,
            away_info=setting.context.session(away).info,
        )

    def draft(self, start: Round) -> Generator[StepRecord, None, Draft]:
        """Step on the other side while some row has budget left; carry home after each step."""
        canvas = start.canvas
        before = self.bridge.away(canvas, self.ends)
        scratch = before.snapshot()
        scratch.done_B = scratch.done_B | (start.budget_B <= 0)
        session = self.context.session(self.pipeline.model).sibling()
        seed = (self.context.seed + 1 + start.number) % SEED_LIMIT
        context = Context({self.pipeline.model: session}, seed)
        steps: list[Tensor] = []
        carried = Carried(tokens_BN=canvas.tokens_BN, lost_B=torch.zeros_like(start.budget_B))
        for index, record in enumerate(self.pipeline.steps(context, scratch), 1):
            last_BN = carried.tokens_BN
            carried = self.bridge.home(canvas, before, scratch, self.ends)
            steps.append(carried.tokens_BN)
            scratch.done_B = scratch.done_B | (start.budget_B <= index)
            yield _at_home(record, canvas, last_BN, carried.tokens_BN)
        if not steps:
            return Draft.empty(len(start.budget_B), start.budget_B.device)
        return _chain(canvas, torch.stack(steps, dim=1), carried.lost_B)


def _at_home(record: StepRecord, canvas: Canvas, before_BN: Tensor, after_BN: Tensor) -> StepRecord:
    """The record in the tokens of the canvas; positions on the other side are left out."""
    return attrs.evolve(
        record,
        before_BN=before_BN,
        after_BN=after_BN,
        positions_BP=record.positions_BP[:, :0],
        proposals_BP=record.proposals_BP[:, :0],
        confidence_BP=record.confidence_BP[:, :0],
        block=whole_region(canvas),
        phase="draft",
    )


def _chain(canvas: Canvas, steps_BTN: Tensor, lost_B: Tensor) -> Draft:
    """What stood at the end, each token in a node for the step from which on it stood there.

    Text that is encoded anew may move while it grows; only where it came to rest counts.
    """
    final_B1N = steps_BTN[:, -1:]
    settled_BTN = (steps_BTN == final_B1N).flip(1).int().cummin(dim=1).values.flip(1)
    step_BN = steps_BTN.shape[1] - settled_BTN.sum(dim=1)
    drafted_BN = canvas.masked_BN & (steps_BTN[:, -1] != canvas.mask_id)
    count = int(drafted_BN.sum(dim=1).amax())
    order_BE = drafted_BN.int().argsort(dim=1, descending=True, stable=True)[:, :count]
    valid_BE = drafted_BN.gather(1, order_BE)
    step_BE = step_BN.gather(1, order_BE)
    used_BT = torch.zeros_like(steps_BTN[:, :, 0]).scatter_add(1, step_BE, valid_BE.long()) > 0
    rank_BT = (used_BT.cumsum(dim=1) - 1).clamp_min(0)  # steps that added nothing make no node
    nodes_D = torch.arange(int(used_BT.sum(dim=1).amax()), device=lost_B.device)
    return Draft(
        position_BE=order_BE,
        token_BE=steps_BTN[:, -1].gather(1, order_BE),
        node_BE=rank_BT.gather(1, step_BE),
        valid_BE=valid_BE,
        parent_BD=nodes_D.expand(len(lost_B), -1) - 1,
        lost_B=lost_B,
    )
