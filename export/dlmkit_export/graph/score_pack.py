"""The score pack as the last nodes of a graph, in place of the logits.

Legend: B rows, S wanted rows, K candidates, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnx_ir.tape import Tape

from dlmkit_export.contract import CURRENT, LOGITS, PACK

__all__ = ["with_score_pack"]


def with_score_pack(model: ir.Model, candidates: int) -> ir.Model:
    """Return a copy of a graph that returns statistics of its logits instead of them.

    The copy shares the weights.  Ties among candidates go to the lowest id, as ONNX defines it.
    """
    packed = model.clone()
    graph = packed.graph
    outputs: dict[Any, ir.Value] = {value.name: value for value in graph.outputs}
    logits_BSV = outputs[LOGITS]
    shape: Any = logits_BSV.shape
    current_BS = ir.Value(
        name=CURRENT,
        shape=ir.Shape([shape[0], shape[1]]),
        type=ir.TensorType(ir.DataType.INT32),
    )
    tape = Tape()
    pack = _statistics(tape, logits_BSV, current_BS, min(candidates, int(shape[2])))
    for constant in tape.initializers:
        graph.register_initializer(constant)
    graph.extend(tape.nodes)
    for name, value in zip(PACK, pack, strict=True):
        value.name = name
        value.dtype = ir.DataType.INT64 if name == "top_ids" else ir.DataType.FLOAT
        last = (min(candidates, int(shape[2])),) if name.startswith("top") else ()
        value.shape = ir.Shape([shape[0], shape[1], *last])
    graph.inputs.append(current_BS)
    graph.outputs[:] = [*pack, *(value for name, value in outputs.items() if name != LOGITS)]
    logits_BSV.name = "logits_of_wanted_rows"
    return packed


def _statistics(
    tape: Tape, logits_BSV: ir.Value, current_BS: ir.Value, candidates: int
) -> tuple[ir.Value, ...]:
    """Largest logits first: everything else is relative to the largest."""
    count = tape.initializer(ir.tensor([candidates], name="pack_candidates"))
    last = tape.initializer(ir.tensor([-1], name="pack_last"))
    first = tape.initializer(ir.tensor([0], name="pack_first"))
    second = tape.initializer(ir.tensor([1], name="pack_second"))
    top_BSK, ids_BSK = tape.op_multi_out(
        "TopK", [logits_BSV, count], attributes={"axis": -1}, num_outputs=2
    )
    peak_BS1 = tape.op("Slice", [top_BSK, first, second, last])
    lowered_BSV = tape.op("Sub", [logits_BSV, peak_BS1])
    weight_BSV = tape.op("Exp", [lowered_BSV])
    total_BS1 = tape.op("ReduceSum", [weight_BSV, last])
    spread_BS1 = tape.op("Log", [total_BS1])
    lse_BS1 = tape.op("Add", [peak_BS1, spread_BS1])
    weighted_BSV = tape.op("Mul", [weight_BSV, lowered_BSV])
    mean_BS1 = tape.op("Div", [tape.op("ReduceSum", [weighted_BSV, last]), total_BS1])
    index_BS1 = tape.op("Unsqueeze", [current_BS, last])
    current_BS1 = tape.op("GatherElements", [logits_BSV, index_BS1], attributes={"axis": -1})
    return (
        ids_BSK,
        tape.op("Sub", [top_BSK, lse_BS1]),
        tape.op("Squeeze", [lse_BS1, last]),
        tape.op("Squeeze", [tape.op("Sub", [spread_BS1, mean_BS1]), last]),
        tape.op("Squeeze", [tape.op("Sub", [current_BS1, lse_BS1]), last]),
    )
