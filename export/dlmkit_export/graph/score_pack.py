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
    """Largest logits first: everything else is relative to the largest.

    The largest one's own weight of 1 is left out of the sums, beside which a rest that is almost
    nothing would be rounded away: logarithms and entropies are exact to relative precision.
    """
    count = tape.initializer(ir.tensor([candidates], name="pack_candidates"))
    last = tape.initializer(ir.tensor([-1], name="pack_last"))
    first = tape.initializer(ir.tensor([0], name="pack_first"))
    second = tape.initializer(ir.tensor([1], name="pack_second"))
    top_BSK, ids_BSK = tape.op_multi_out(
        "TopK", [logits_BSV, count], attributes={"axis": -1}, num_outputs=2
    )
    peak_BS1 = tape.op("Slice", [top_BSK, first, second, last])
    lowered_BSV = tape.op("Sub", [logits_BSV, peak_BS1])
    best_BS1 = tape.op("Slice", [ids_BSK, first, second, last])
    nothing_BS1 = tape.op("Sub", [peak_BS1, peak_BS1])
    weight_BSV = tape.op(
        "ScatterElements",
        [tape.op("Exp", [lowered_BSV]), best_BS1, nothing_BS1],
        attributes={"axis": -1},
    )
    rest_BS1 = tape.op("ReduceSum", [weight_BSV, last])
    total_BS1, spread_BS1 = _log_of_one_and(tape, rest_BS1)
    lse_BS1 = tape.op("Add", [peak_BS1, spread_BS1])
    weighted_BSV = tape.op("Mul", [weight_BSV, lowered_BSV])
    mean_BS1 = tape.op("Div", [tape.op("ReduceSum", [weighted_BSV, last]), total_BS1])
    index_BS1 = tape.op("Unsqueeze", [current_BS, last])
    current_BS1 = tape.op("GatherElements", [lowered_BSV, index_BS1], attributes={"axis": -1})
    return (
        ids_BSK,
        tape.op("Sub", [tape.op("Sub", [top_BSK, peak_BS1]), spread_BS1]),
        tape.op("Squeeze", [lse_BS1, last]),
        tape.op("Squeeze", [tape.op("Sub", [spread_BS1, mean_BS1]), last]),
        tape.op("Squeeze", [tape.op("Sub", [current_BS1, spread_BS1]), last]),
    )


def _log_of_one_and(tape: Tape, rest: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return `1 + rest` and its logarithm, exact to relative precision.

    ONNX has no operator for it.  What the sum has rounded away of a small rest is put back by the
    ratio (Higham, Accuracy and Stability of Numerical Algorithms, section 1.14.1).
    """
    one = tape.initializer(ir.tensor([1.0], name="pack_one"))
    total = tape.op("Add", [rest, one])
    ratio = tape.op("Div", [rest, tape.op("Sub", [total, one])])
    spread = tape.op("Mul", [tape.op("Log", [total]), ratio])
    return total, tape.op("Where", [tape.op("Equal", [total, one]), rest, spread])
