"""From what a length controller asks for to the layout that the canvas gets.

Legend: B rows, N canvas positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlmkit.canvas import Canvas
from dlmkit.errors import StrategyError
from dlmkit.layout import Layout
from dlmkit.prediction import Prediction
from dlmkit.roles import LengthController, Resize
from dlmkit.view import View

__all__ = ["new_layout"]


def new_layout(
    controller: LengthController,
    prediction: Prediction,
    view: View,
    canvas: Canvas,
    *,
    grows_B: Tensor,
    waiting_B: Tensor | None,
) -> Layout | None:
    """Ask a controller after the commits of a step; None: the canvas stays as it is.

    Only rows that took part are changed; `grows_B` marks those that may gain positions.

    Raises:
        StrategyError: a row would outgrow the model's context, or waits without a change.
    """
    resize = controller.resize(prediction, view.after(canvas))
    if resize is None:
        resize = Resize(
            insert_BN=torch.zeros_like(canvas.tokens_BN), delete_BN=canvas.tokens_BN < 0
        )
    open_B1 = (view.live_B & ~canvas.done_B)[:, None]
    insert_BN, delete_BN = _allowed(resize, canvas)
    insert_BN = torch.where(open_B1 & grows_B[:, None], insert_BN, 0)
    delete_BN = delete_BN & open_B1
    if waiting_B is not None:
        changed_B = ((insert_BN > 0) | delete_BN).any(dim=1)
        _refuse_idling(controller, waiting_B & ~changed_B, view.step)
    layout = Layout.of(canvas, insert_BN, delete_BN)
    if layout is not None and layout.columns > view.info.max_positions:
        row = int((layout.length_B > view.info.max_positions).int().argmax())
        raise StrategyError(
            f"length '{controller.name}' makes row {row} {int(layout.length_B[row])} tokens long "
            f"in step {view.step}, but the model's context is {view.info.max_positions}",
            hint="set its limit lower, or shorten the prompt",
        )
    return layout


def _allowed(resize: Resize, canvas: Canvas) -> tuple[Tensor, Tensor]:
    """What may be done: nothing before the last token of the prompt, and one position stays."""
    first_B1 = canvas.start_B[:, None]
    insert_BN = resize.insert_BN.clamp_min(0)
    insert_BN = torch.where((canvas.columns_N >= first_B1 - 1) & canvas.inside_BN, insert_BN, 0)
    delete_BN = resize.delete_BN & ~canvas.given_BN
    left_B = (canvas.inside_BN & ~delete_BN).sum(dim=1) + insert_BN.sum(dim=1)
    empty_B1 = (left_B <= canvas.start_B)[:, None]
    return insert_BN, delete_BN & ~(empty_B1 & (canvas.columns_N == first_B1))


def _refuse_idling(controller: LengthController, idle_B: Tensor, step: int) -> None:
    if bool(idle_B.any()):
        raise StrategyError(
            f"length '{controller.name}' lets row {int(idle_B.int().argmax())} wait in step {step} "
            "without changing it",
            hint="a row may wait only in steps that insert or delete something",
        )
