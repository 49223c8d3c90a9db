"""States of one text side by side in a row of a pass, as the branches of a tree.

Each column holds what a plan computes of one state.  A column sees itself and what is stored, and
no other column, so it says what a row of its own would; but the row is longer and there is one of
it, which shares the stored keys and values.  Source: tree attention in FreeDave
(arXiv:2510.00294) and Medusa (arXiv:2401.10774).

Legend: B rows, X states, N canvas positions, P wanted positions, Q fed positions of a
state, S wanted rows of a state, K columns of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.network import NetworkInputs
from dlmkit.passes.fed import Fed
from dlmkit.passes.inputs import inputs_of
from dlmkit.passes.keeping import keep
from dlmkit.passes.variants import part_of
from dlmkit.prediction import Prediction

if TYPE_CHECKING:
    from dlmkit.canvas import Canvas
    from dlmkit.need import Need
    from dlmkit.passes.plan import Plan
    from dlmkit.passes.session import Session

__all__ = ["in_columns", "predict_columns"]


def predict_columns(
    session: Session,
    states: Sequence[Tensor],
    canvas: Canvas,
    positions_BP: Tensor,
    plan: Plan,
    need: Need,
    required_BP: Tensor | None = None,
) -> list[Prediction]:
    """Run one pass over states, canvases `ids_BN`, that stand side by side in each row.

    They differ only where the plan computes.  What is stored is what the first one computes.

    Raises:
        EngineError: as `Session.predict` does.
    """
    first_BN, count = states[0], positions_BP.shape[1]
    fed = Fed.of(session, plan, positions_BP, first_BN.shape[1], required_BP)
    inputs = inputs_of(session, fed, first_BN, canvas, need)
    columns = in_columns(inputs, [fed.of_canvas(state) for state in states])
    output = session.run(columns, need, fed.plan)
    keep(session, output, fed.plan, first_BN, inputs.ids_BQ)
    whole = Prediction(pack=output.pack, logits_BPV=output.logits_BSV)
    places = [slice(count * number, count * (number + 1)) for number in range(len(states))]
    return [part_of(whole, slice(None), each) for each in places]


def in_columns(inputs: NetworkInputs, states: Sequence[Tensor]) -> NetworkInputs:
    """The inputs of one state, widened to all of them; `states` are what each feeds, `ids_BQ`."""
    times, fed = len(states), inputs.ids_BQ.shape[1]
    seen_B1QQ = inputs.mask_new_B1QQ
    if seen_B1QQ is None:
        rows = len(inputs.ids_BQ)
        seen_B1QQ = inputs.ids_BQ.new_ones((rows, 1, fed, fed), dtype=torch.bool)
    own_KK = torch.eye(times, dtype=torch.bool, device=seen_B1QQ.device)
    own_KK = own_KK.repeat_interleave(fed, dim=0).repeat_interleave(fed, dim=1)
    past_B1QC = inputs.mask_past_B1QC
    return attrs.evolve(
        inputs,
        ids_BQ=torch.cat(list(states), dim=1),
        positions_BQ=inputs.positions_BQ.repeat(1, times),
        want_BS=torch.cat([inputs.want_BS + fed * number for number in range(times)], dim=1),
        mask_new_B1QQ=seen_B1QQ.repeat(1, 1, times, times) & own_KK,
        mask_past_B1QC=None if past_B1QC is None else past_B1QC.repeat(1, 1, times, 1),
    )
